"""Fixtures of the plugin API's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pytest_django import Settings

if TYPE_CHECKING:
    from tests.licensing.api.driver import PluginApi


@pytest.fixture
def api() -> PluginApi:
    from tests.licensing.api.driver import PluginApi

    return PluginApi()


@pytest.fixture(autouse=True)
def no_rate_limit(settings: Settings) -> None:
    """Rate limits have tests of their own; everywhere else they would only be in the way of many requests at once."""
    settings.RATE_LIMIT_PER_MINUTE = 0
