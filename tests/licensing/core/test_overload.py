"""A process that has more to do than it can refuses what can come again, and only then."""

from __future__ import annotations

import pytest

from licensing.core.errors import Overloaded
from licensing.core.overload import (
    BUSY_SHARE,
    LONGEST_RETRY_SECONDS,
    MANY_CONNECTIONS,
    RETRY_SECONDS,
    SAMPLE_SECONDS,
    Load,
)

THREADS = 4


class Process:
    """A process whose clock and connections the test moves."""

    def __init__(self) -> None:
        self.now = 50.0
        self.connections = MANY_CONNECTIONS + 1
        self.load = Load(threads=THREADS, now=lambda: self.now, open_files=lambda: self.connections)

    def works(self, share: float) -> None:
        """All threads are busy for this part of a sample's time."""
        self.now += SAMPLE_SECONDS
        self.load.worked(share * SAMPLE_SECONDS * THREADS)
        self.load.sample()


def retry_after(load: Load) -> set[int]:
    """What many are told at this moment."""
    told = set()
    for _ in range(500):
        with pytest.raises(Overloaded) as refused:
            load.refuse_if_overloaded()
        assert refused.value.status == 503
        told.add(int(refused.value.headers["Retry-After"]))
    return told


def test_busy_threads_and_many_connections_refuse_with_a_time_to_come_back() -> None:
    process = Process()
    process.works(BUSY_SHARE + 0.05)
    told = retry_after(process.load)
    assert min(told) >= RETRY_SECONDS[0]
    assert max(told) <= RETRY_SECONDS[1]
    assert len(told) > 5  # not all at the same instant again


@pytest.mark.parametrize(("share", "connections"), [(BUSY_SHARE - 0.05, MANY_CONNECTIONS + 1), (1.0, MANY_CONNECTIONS)])
def test_one_of_them_alone_refuses_nobody(share: float, connections: int) -> None:
    process = Process()
    process.connections = connections
    process.works(share)
    process.load.refuse_if_overloaded()


def test_the_longer_it_lasts_the_later_they_are_to_come_back_and_not_for_ever() -> None:
    process = Process()
    for _ in range(200):
        process.works(1.0)
    assert RETRY_SECONDS[1] < max(retry_after(process.load)) <= LONGEST_RETRY_SECONDS
    for _ in range(200):
        process.works(0.1)
    process.works(1.0)
    assert max(retry_after(process.load)) <= RETRY_SECONDS[1]


def test_what_it_could_not_do_before_is_no_reason_later() -> None:
    process = Process()
    process.works(1.0)
    process.works(0.1)
    process.load.refuse_if_overloaded()


def test_a_sample_at_the_same_instant_changes_nothing() -> None:
    process = Process()
    process.works(1.0)
    process.load.sample()
    assert process.load.is_overloaded
