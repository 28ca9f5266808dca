"""Builds in words for the people who wait for them: how far one is, and what a failure asks of whom."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from build_farm.models import Build

Words = str | Promise

_STAGES: Final[tuple[tuple[str, Words, str], ...]] = (
    ("queued", _("Waits its turn"), "queued"),
    ("building", _("Is compiled"), "build"),
    ("signing", _("Is signed"), "sign"),
    ("published", _("Ready"), ""),
)
"""State, words, and the member of `timings` that says how long it took."""

_VENDOR: Final = _("Nothing on your side changes that: write to the vendor and name the build's id.")
_ADVICE: Final[tuple[tuple[str, Words, Words], ...]] = (
    ("exit code", _("The plugin's source does not compile for this target."), _VENDOR),
    ("cannot be built", _("The build farm does not take the plugin's source as it is."), _VENDOR),
    ("longer than is allowed", _("Compiling it takes longer than the build farm allows."), _VENDOR),
    ("more CPU time", _("Compiling it takes more computing time than the build farm allows."), _VENDOR),
    ("more memory", _("Compiling it takes more memory than the build farm allows."), _VENDOR),
    ("more processes", _("Compiling it starts more processes than the build farm allows."), _VENDOR),
    ("archive is missing", _("The vendor's copy of the source cannot be read any more."), _VENDOR),
    ("cannot be signed", _("It was compiled, but the result is not what can be signed."), _VENDOR),
    (
        "live API key",
        _("A build carries the fingerprint of an API key, and there was none that is live."),
        _("Create an API key, then ask for the build again."),
    ),
    (
        "no subscription",
        _("There was no subscription at that moment."),
        _("Renew it, then ask for the build again."),
    ),
    (
        "Given up after",
        _("It was tried several times, and each time something in between was away."),
        _("Ask for it again in a while. If that fails too, write to the vendor and name the build's id."),
    ),
)
_OTHERWISE: Final = (
    _("The vendor's server could not make it."),
    _("Ask for it again in a while. If that fails too, write to the vendor and name the build's id."),
)
_COMPLAINT: Final = re.compile(r"^(?:vet: )?([^\s:]{1,200}\.go):([0-9]{1,7})(?::[0-9]{1,7})?: (.{1,500})$")
_SHOWN_COMPLAINTS: Final = 5


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a build: `standing` is `done`, `current`, `ended` (it went no further) or `ahead`."""

    state: str
    label: Words
    standing: str
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that the compiler found wrong, and where."""

    file: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a build failed: the farm's own sentence, what that means, what to do, and what the compiler said."""

    sentence: str
    meaning: Words
    advice: Words
    complaints: list[Complaint]


def stages(row: Build) -> list[Stage]:
    """The steps of a build, and how far it came."""
    reached = _reached(row)
    order = [state for state, _label, _timing in _STAGES]
    found = []
    for index, (state, label, timing) in enumerate(_STAGES):
        if index < order.index(reached) or reached == Build.State.PUBLISHED:
            standing = "done"
        elif index > order.index(reached):
            standing = "ahead"
        else:
            standing = "current" if row.is_live else "ended"
        found.append(Stage(state, label, standing, _seconds(row.timings, timing)))
    return found


def failure(row: Build) -> Failure | None:
    """Why it failed; None if it did not."""
    if row.state != Build.State.FAILED:
        return None
    meaning, advice = next(((meaning, advice) for mark, meaning, advice in _ADVICE if mark in row.failure), _OTHERWISE)
    return Failure(row.failure, meaning, advice, list(complaints(row.log))[:_SHOWN_COMPLAINTS])


def complaints(log: str) -> Iterator[Complaint]:
    """What the Go compiler complains of in a log: lines such as `main.go:12:3: undefined: x`."""
    for line in log.splitlines():
        match = _COMPLAINT.match(line.strip())
        if match is not None:
            yield Complaint(match[1], int(match[2]), match[3])


def _reached(row: Build) -> str:
    """The step that it is at, or that it was at when it ended."""
    if row.is_live:
        return str(row.state)
    if row.state in (Build.State.PUBLISHED, Build.State.SUPERSEDED) and row.artifact_id:
        return "published"
    if row.binary_sha256:
        return "signing"
    return "building" if row.claimed_at else "queued"


def _seconds(timings: dict[str, Any], name: str) -> float | None:
    value = timings.get(name)
    return float(value) if isinstance(value, int | float) else None
