"""Who uses an API key. `licensing` knows the installations and says so here, since `accounts` must not look upwards."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class KeyUser:
    """One installation that last authenticated with the key."""

    installation_id: str
    plugin: str
    hostname: str
    last_seen_at: datetime


@dataclass(frozen=True, slots=True)
class KeyUsers:
    """How many installations use a key, and those seen last."""

    count: int = 0
    latest: list[KeyUser] = field(default_factory=list)


Finder = Callable[[str, str], KeyUsers]

_finders: list[Finder] = []


def answered_by(finder: Finder) -> None:
    """Have `finder(customer_id, key_id)` answer who uses a key."""
    _finders[:] = [finder]


def users_of(customer_id: str, key_id: str) -> KeyUsers:
    """Who uses a key."""
    return _finders[0](customer_id, key_id) if _finders else KeyUsers()
