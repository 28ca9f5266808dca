"""Workers that say they are there: seen, late, gone, and forgotten."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.test import override_settings

from licensing.core.valkey import ValkeyAway, valkey
from licensing.core.workers import FORGOTTEN_AFTER_SECONDS, LATE_AFTER_SECONDS, Beat, Worker, worker_name, workers_seen


@pytest.fixture(autouse=True)
def nobody() -> Iterator[None]:
    valkey().run(lambda client: client.delete("workers"))
    yield
    valkey().run(lambda client: client.delete("workers"))


def seen() -> list[Worker]:
    return workers_seen(now=datetime.now(UTC))


def until(count: int) -> list[Worker]:
    """Wait for so many workers."""
    end = time.monotonic() + 30
    while len(found := seen()) != count:
        assert time.monotonic() < end, found
        time.sleep(0.02)
    return found


def test_a_worker_is_seen_while_it_runs_and_not_afterwards() -> None:
    beat = Beat("build", pause_seconds=0.05)
    beat.start()
    (worker,) = until(1)
    assert (worker.role, worker.name) == ("build", worker_name())
    assert worker.pid == str(os.getpid())
    first = worker.seen_at
    end = time.monotonic() + 30
    while seen()[0].seen_at <= first:
        assert time.monotonic() < end
        time.sleep(0.02)
    beat.stop()
    assert seen() == []


def test_one_that_was_killed_is_late_and_then_forgotten() -> None:
    now = datetime.now(UTC)
    valkey().run(lambda client: client.zadd("workers", {"sign host-1:7": now.timestamp()}))
    (worker,) = workers_seen(now=now)
    assert not worker.is_late(now + timedelta(seconds=LATE_AFTER_SECONDS))
    assert worker.is_late(now + timedelta(seconds=LATE_AFTER_SECONDS + 1))
    assert workers_seen(now=now + timedelta(seconds=FORGOTTEN_AFTER_SECONDS + 1)) == []


def test_they_are_sorted_by_role_and_machine_and_read_whatever_stands_there() -> None:
    at = time.time()
    entries = {"sign b:1": at, "build b:2": at, "build a:9": at, "nonsense": at, "": at}
    valkey().run(lambda client: client.zadd("workers", entries))
    assert [(each.role, each.name) for each in seen() if each.host] == [
        ("build", "a:9"),
        ("build", "b:2"),
        ("sign", "b:1"),
    ]


def test_without_valkey_a_worker_goes_on_and_nobody_knows_of_it(tmp_path: object) -> None:
    with override_settings(VALKEY_URL=f"unix://{tmp_path}/nobody?db=0"):
        beat = Beat("build", pause_seconds=0.05)
        beat.start()
        with pytest.raises(ValkeyAway):
            seen()
        beat.stop()
    assert seen() == []
