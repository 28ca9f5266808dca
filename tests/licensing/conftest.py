"""Fixtures of `licensing`: the cast, committed once a module or fresh for each test, and a clock that stands still.

What needs Django is imported inside the fixtures: pytest reads this file before the services and the settings exist.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_django import DjangoDbBlocker, Settings

    from tests.licensing.api.driver import PluginApi
    from tests.licensing.cast import Cast


class Clock:
    """The time that requests are decided at; a test moves it."""

    def __init__(self, now: float) -> None:
        self.now = now

    def time(self) -> float:
        """What `time.time` would say."""
        return self.now


@pytest.fixture(scope="module")
def cast(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Cast]:
    """The cast, committed for the whole module: whatever a test changes of it is rolled back with the test."""
    from tests.licensing.cast import empty_tables, load_cast

    with django_db_blocker.unblock():
        loaded = load_cast()
    yield loaded
    with django_db_blocker.unblock():
        empty_tables()


@pytest.fixture
def fresh_cast(transactional_db: None) -> Cast:
    """The cast for a test that commits: flushed after it."""
    from tests.licensing.cast import load_cast

    return load_cast()


@pytest.fixture
def api() -> PluginApi:
    """The plugin API as web processes serve it, on the test's own connection and in its transaction."""
    from tests.licensing.api.driver import PluginApi

    return PluginApi()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Freeze the one place where the plugin API reads the time, at T0."""
    from licensing.api import plugins
    from tests.licensing.cast import T0

    frozen = Clock(T0)
    assert plugins.time is time
    monkeypatch.setattr(plugins, "time", SimpleNamespace(time=frozen.time))
    return frozen


@pytest.fixture
def empty_valkey() -> None:
    """A Valkey that has seen nothing, and remembers nonces since for ever."""
    from licensing.core.valkey import valkey

    valkey().run(lambda client: (client.flushdb(), client.set("proof:since", 0)))


@pytest.fixture
def dead_valkey(empty_valkey: None, settings: Settings, tmp_path: Path) -> None:
    """A Valkey that does not answer: its socket is not there."""
    settings.VALKEY_URL = f"unix://{tmp_path}/nobody.sock?db=0"
