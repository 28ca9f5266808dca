"""How the server itself is, for the live page: caches, heartbeats, limits, answers; and what apps above add to it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings

from licensing.core.valkey import valkey
from licensing.services.metrics import NO_HEARTBEAT_SECONDS, counted
from licensing.snapshots.protocol import BOUND_SECONDS

_OUTCOMES: Final = ("allowed", "refused", "blocked", "failed_open")
_MOST_CODES: Final = 10
Samples = dict[str, list[tuple[dict[str, str], float]]]


@dataclass(frozen=True, slots=True)
class Tile:
    """A number on the live page, a second one below it, and where to read more."""

    label: Any
    value: int
    note: Any
    note_value: int
    url: str


_also: list[Callable[[], Tile]] = []


def show_also(tile: Callable[[], Tile]) -> None:
    """Have the live page show a number that only an app above knows."""
    _also.append(tile)


def tiles() -> list[Tile]:
    """What the apps above show."""
    return [tile() for tile in _also]


def health() -> dict[str, Any]:
    """What the processes of this machine count, since they began.

    `heartbeat` is the age in seconds of the oldest process' last heartbeat: beyond BOUND_SECONDS it no longer answers
    from memory.
    """
    found = counted()
    heartbeat = _gauge(found, "keywright_heartbeat_age_seconds")
    return {
        "caches": settings.SNAPSHOT_CACHE_ENTRIES > 0,
        "snapshots": int(_gauge(found, "keywright_snapshot_entries")),
        "snapshot_bytes": int(_gauge(found, "keywright_snapshot_bytes")),
        "heartbeat": heartbeat,
        "is_heartbeat_late": heartbeat > BOUND_SECONDS,
        # A process listens from its first decision on.
        "is_heartbeat_missing": heartbeat >= NO_HEARTBEAT_SECONDS,
        "listeners_lost": int(_gauge(found, "keywright_listeners_disconnected")),
        "valkey_away": valkey().is_away or _gauge(found, "keywright_valkey_away") > 0,
        "limiter": _limiter(found),
        "answers": _answers(found),
    }


def _gauge(found: Samples, name: str) -> float:
    return max((value for _, value in found.get(name, [])), default=0.0)


def _limiter(found: Samples) -> list[tuple[str, int]]:
    counts = {labels["outcome"]: int(value) for labels, value in found.get("keywright_limiter_total", [])}
    return [(name, counts.get(name, 0)) for name in _OUTCOMES]


def _answers(found: Samples) -> list[tuple[str, int]]:
    """Answers of the plugin API by code, the most frequent first."""
    codes = Counter[str]()
    for labels, value in found.get("keywright_request_seconds_count", []):
        if labels["endpoint"].startswith("plugins/"):
            codes[labels["code"]] += int(value)
    return [(code, count) for code, count in codes.most_common(_MOST_CODES) if count]
