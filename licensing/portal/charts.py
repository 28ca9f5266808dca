"""Charts as numbers that a template draws as SVG: no script, and the figures stand in a table beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 640
HEIGHT: Final = 140
_TOP: Final = 16
_BOTTOM: Final = 20


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar, in the units of the drawing."""

    x: float
    y: float
    width: float
    height: float
    label: str
    value: int


@dataclass(frozen=True, slots=True)
class Bars:
    """A bar chart. `summary` says in words what the drawing shows."""

    bars: list[Bar]
    first: str
    last: str
    highest: int
    summary: str
    width: int = WIDTH
    height: int = HEIGHT
    base: int = HEIGHT - _BOTTOM


@dataclass(frozen=True, slots=True)
class Meter:
    """How much of a limit is used; `percent` is at most 100."""

    used: int
    limit: int | None
    percent: float
    tone: str


def bars(points: Sequence[tuple[str, int]], *, summary: str) -> Bars:
    """Lay out one bar for each (label, value)."""
    highest = max((value for _, value in points), default=0)
    step = WIDTH / max(len(points), 1)
    room = HEIGHT - _TOP - _BOTTOM
    drawn = []
    for index, (label, value) in enumerate(points):
        height = round(room * value / highest, 2) if highest else 0
        y = round(HEIGHT - _BOTTOM - height, 2)
        drawn.append(Bar(round(index * step + step * 0.12, 2), y, round(step * 0.76, 2), height, label, value))
    return Bars(drawn, points[0][0] if points else "", points[-1][0] if points else "", highest, summary)


def meter(used: int, limit: int | None) -> Meter:
    """How much of `limit` is used; None is no limit."""
    percent = min(100.0, round(100 * used / limit, 1)) if limit else (100.0 if limit == 0 else 0.0)
    tone = "bad" if percent >= 100 else "warn" if percent >= 80 else ""
    return Meter(used, limit, percent, tone)
