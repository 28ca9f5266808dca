"""A cache of snapshots that listens, as a web process has one; elsewhere the tests run without."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from pytest_django import Settings

if TYPE_CHECKING:
    from licensing.services.state import Snapshots
    from tests.licensing.api.driver import PluginApi


@pytest.fixture
def api() -> PluginApi:
    from django.test import Client

    from tests.licensing.api.driver import PluginApi

    api = PluginApi()
    api.client = Client()
    return api


@pytest.fixture
def snapshots(settings: Settings, transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Snapshots]:
    """This process's cache, trusted."""
    settings.SNAPSHOT_CACHE_ENTRIES = 1000
    yield from _running(settings, monkeypatch)


@pytest.fixture
def small_snapshots(settings: Settings, transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Snapshots]:
    """A cache with room for ten, the catalogue included."""
    settings.SNAPSHOT_CACHE_ENTRIES = 10
    yield from _running(settings, monkeypatch)


def _running(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Snapshots]:
    from licensing.services import state
    from licensing.snapshots.boot_clock import boot_seconds

    settings.RATE_LIMIT_PER_MINUTE = 0
    monkeypatch.setattr(state, "_snapshots", {})
    found = state.process_snapshots()
    assert found is not None
    found.listener.ensure_started()
    deadline = time.monotonic() + 30
    while not found.cache.trusted(boot_seconds()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield found
    found.stop()
