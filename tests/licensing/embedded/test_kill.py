"""SIGKILL at any instant: no process is left, the next start works, what was acknowledged is there.

KEYWRIGHT_KILL_ROUNDS sets how many random instants are tried (4 unless told).
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.licensing.embedded.processes import Holder, processes_of, wait_for, wait_until_gone

ROUNDS = int(os.environ.get("KEYWRIGHT_KILL_ROUNDS", "4"))
# A first start takes about a second, of which initdb is most.
LONGEST_DELAY_SECONDS = 1.5


def stored_rows(data_dir: Path, hold: Callable[..., Holder]) -> set[int]:
    """Start once more, read the rows, stop."""
    holder = hold(data_dir)
    endpoints = holder.wait_until_up()
    with psycopg.connect(endpoints["database_owner_url"]) as connection:
        rows = {number for (number,) in connection.execute("SELECT number FROM kept")}
    assert holder.stop() == 0
    return rows


@pytest.mark.parametrize("kill", [Holder.kill_alone, Holder.kill_tree], ids=["parent", "tree"])
def test_at_random_instants_first_initdb_included(
    tmp_path: Path, hold: Callable[..., Holder], kill: Callable[[Holder], None]
) -> None:
    acknowledged: set[int] = set()
    for number in range(ROUNDS):
        # Every second round begins with nothing.
        data = tmp_path / f"data-{number // 2}"
        if number % 2 == 0:
            acknowledged = set()
        delay = random.uniform(0.05, LONGEST_DELAY_SECONDS)
        holder = hold(data)
        deadline = time.monotonic() + delay
        wait_for(lambda end=deadline: time.monotonic() >= end)
        kill(holder)
        acknowledged |= set(holder.collect())

        wait_until_gone(data)
        assert acknowledged <= stored_rows(data, hold), f"killed after {delay:.3f} s"
        assert processes_of(data) == []


def test_rows_are_there_after_a_kill_under_load(tmp_path: Path, hold: Callable[..., Holder]) -> None:
    holder = hold(tmp_path / "data")
    holder.wait_until_up()
    seen = [holder.read_line() for _ in range(200)]
    holder.kill_tree()
    acknowledged = {int(line) for line in seen if line} | set(holder.collect())

    assert len(acknowledged) >= 200
    assert acknowledged <= stored_rows(tmp_path / "data", hold)


def test_what_outlives_its_guard_is_ended_by_the_next_start(tmp_path: Path, hold: Callable[..., Holder]) -> None:
    """The worst case: a database that survived both its supervisor and its guard."""
    data = tmp_path / "data"
    holder = hold(data)
    holder.wait_until_up()
    postmaster = int((data / "postgres" / "postmaster.pid").read_text().split()[0])
    # Stopped, it cannot act on the signal its guard's death sends it.
    os.kill(postmaster, signal.SIGSTOP)
    holder.kill_tree_but(postmaster)
    assert [line for line in processes_of(data) if line.startswith(f"{postmaster} ")]

    assert stored_rows(data, hold)
    assert processes_of(data) == []


def test_an_id_that_is_somebody_elses_by_now_is_left_alone(tmp_path: Path, hold: Callable[..., Holder]) -> None:
    """Records of an earlier boot name ids that others have now: the start time tells."""
    data = tmp_path / "data"
    holder = hold(data)
    holder.wait_until_up()
    assert holder.stop() == 0
    (data / "run" / "valkey.pid").write_text(f'{{"guard": [{os.getpid()}, 1], "program": [{os.getpid()}, 1]}}')
    (data / "postgres" / "postmaster.pid").write_text(f"{os.getpid()}\n{data / 'postgres'}\n1\n5432\n\n\n\n")

    holder = hold(data)
    assert holder.wait_until_up()
    assert holder.stop() == 0
