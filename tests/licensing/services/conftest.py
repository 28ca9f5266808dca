"""Fixtures of the services' tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.licensing.api.driver import PluginApi


@pytest.fixture
def api() -> PluginApi:
    from tests.licensing.api.driver import PluginApi

    return PluginApi()
