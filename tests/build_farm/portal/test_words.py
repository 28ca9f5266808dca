"""What builds are said to be doing, and what their failures are said to mean."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from build_farm.models import Build
from build_farm.portal.words import complaints, failure, stages

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"state": "queued"}, ["current", "ahead", "ahead", "ahead"]),
        ({"state": "building", "claimed_at": NOW}, ["done", "current", "ahead", "ahead"]),
        ({"state": "signing", "claimed_at": NOW, "binary_sha256": "b"}, ["done", "done", "current", "ahead"]),
        ({"state": "published", "artifact_id": "art_1"}, ["done", "done", "done", "done"]),
        ({"state": "superseded", "artifact_id": "art_1"}, ["done", "done", "done", "done"]),
        ({"state": "superseded"}, ["ended", "ahead", "ahead", "ahead"]),
        ({"state": "failed"}, ["ended", "ahead", "ahead", "ahead"]),
        ({"state": "failed", "claimed_at": NOW}, ["done", "ended", "ahead", "ahead"]),
        ({"state": "failed", "claimed_at": NOW, "binary_sha256": "b"}, ["done", "done", "ended", "ahead"]),
        ({"state": "cancelled", "claimed_at": NOW}, ["done", "ended", "ahead", "ahead"]),
    ],
)
def test_the_steps_show_how_far_it_came(fields: dict[str, Any], expected: list[str]) -> None:
    assert [stage.standing for stage in stages(Build(**fields))] == expected


def test_steps_say_how_long_they_took_where_that_is_known() -> None:
    row = Build(state="published", artifact_id="a", timings={"queued": 1, "build": 2.5, "sign": "soon"})
    assert [stage.seconds for stage in stages(row)] == [1.0, 2.5, None, None]


@pytest.mark.parametrize(
    ("sentence", "meaning", "advice"),
    [
        ("The compiler ended with exit code 1.", "does not compile", "vendor"),
        ("The compiler used more memory than is allowed and was stopped.", "more memory", "vendor"),
        ("The compiler used more CPU time than is allowed and was stopped.", "computing time", "vendor"),
        ("The source cannot be built: it brings its own customer_auth.go", "does not take", "vendor"),
        ("There is no live API key of this customer that the build could be for.", "API key", "Create an API key"),
        ("The customer has no subscription.", "subscription", "Renew"),
        ("Given up after 5 attempts: its worker ended or went silent.", "several times", "in a while"),
        ("The build sandbox cannot be had on this machine, so nothing was run.", "could not make it", "in a while"),
    ],
)
def test_a_failure_says_what_it_means_and_what_to_do(sentence: str, meaning: str, advice: str) -> None:
    found = failure(Build(state="failed", failure=sentence))
    assert found is not None
    assert (found.sentence, meaning in str(found.meaning), advice in str(found.advice)) == (sentence, True, True)


def test_only_failures_are_explained() -> None:
    assert failure(Build(state="cancelled", failure="x")) is None


def test_complaints_are_read_out_of_a_log_and_nothing_else_is() -> None:
    log = (
        "# example.com/api-logger\n"
        "./main.go:12:3: undefined: x\n"
        "sub/dir/a.go:7: syntax error: unexpected }\n"
        "not a place: at all\n"
        "main.py:1:1: no\n" + "a" * 10_000 + ".go:1:1: too long a name\n"
    )
    assert [(each.file, each.line, each.text) for each in complaints(log)] == [
        ("./main.go", 12, "undefined: x"),
        ("sub/dir/a.go", 7, "syntax error: unexpected }"),
    ]
