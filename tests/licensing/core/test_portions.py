"""Little at a time, and all at once where the process ends."""

import threading
import time
from types import SimpleNamespace

import pytest

from licensing.core import portions
from licensing.core.portions import hurry, in_portions


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long each pause was to be; none is made."""
    asked: list[float] = []
    event = threading.Event()
    real = event.wait

    def wait(timeout: float | None = None) -> bool:
        asked.append(timeout or 0.0)
        return real(0)

    monkeypatch.setattr(event, "wait", wait)
    monkeypatch.setattr(portions, "_hurry", event)
    return asked


@pytest.mark.parametrize(
    ("count", "expected", "pauses"),
    [(0, [], 0), (1, [[0]], 0), (3, [[0, 1, 2]], 0), (4, [[0, 1, 2], [3]], 1), (7, [[0, 1, 2], [3, 4, 5], [6]], 2)],
)
def test_everything_is_given_out_once_in_order(
    waits: list[float], count: int, expected: list[list[int]], pauses: int
) -> None:
    assert [list(portion) for portion in in_portions(range(count), 3)] == expected
    assert waits == [portions.PAUSE_SECONDS] * pauses


def test_portions_begin_evenly_spread(waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that takes long shortens the pause after it, and never to less than the least."""
    now = [50.0]
    monkeypatch.setattr(portions, "time", SimpleNamespace(monotonic=lambda: now[0]))
    for _ in in_portions(range(8), 2, over_seconds=2.0):
        now[0] = 50.0 + (0.4 + 0.5 * len(waits) if len(waits) < 2 else 1.6)
    assert waits == pytest.approx([0.1, 0.1, portions.PAUSE_SECONDS])


@pytest.mark.parametrize(
    ("count", "largest", "portions_made"),
    [(50, 50, 1), (51, 50, 2), (5000, 50, 100), (5001, 51, 99), (200_000, 2000, 100)],
)
def test_more_than_there_is_time_for_takes_larger_portions(
    waits: list[float], monkeypatch: pytest.MonkeyPatch, count: int, largest: int, portions_made: int
) -> None:
    """A million installations' sightings are written as fast as they come: in a hundred portions every four seconds."""
    now = [50.0]
    monkeypatch.setattr(portions, "time", SimpleNamespace(monotonic=lambda: now[0]))
    sizes = [len(portion) for portion in in_portions(range(count), 50, over_seconds=4.0)]
    assert (sum(sizes), max(sizes), len(sizes)) == (count, largest, portions_made)


def test_who_ends_makes_no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portions, "_hurry", threading.Event())
    monkeypatch.setattr(portions, "PAUSE_SECONDS", 600)
    hurry()
    began = time.monotonic()
    assert len(list(in_portions(range(100), 1))) == 100
    assert time.monotonic() - began < 300
