"""The cache, step by step: each test is one sentence of its contract. Instants are boot-clock seconds."""

import threading

import pytest

from licensing.snapshots.cache import SnapshotCache
from licensing.snapshots.protocol import (
    ALL,
    BOUND_SECONDS,
    CATALOGUE,
    FreshnessUnknown,
    Outcome,
)
from licensing.snapshots.reading import MAX_QUESTIONS, read_through
from licensing.snapshots.store import ENTRY_OVERHEAD_BYTES

T = 1000.0


def listening_cache(*, max_entries: int = 100, max_bytes: int = 1_000_000) -> SnapshotCache[str]:
    """Return a cache whose listener is connected and whose last heartbeat was sent at T."""
    cache = SnapshotCache[str](max_entries=max_entries, max_bytes=max_bytes, weigh=len)
    cache.listener_connected()
    cache.heartbeat_sent(1, T)
    assert cache.heartbeat_received(1, T)
    return cache


def fill(cache: SnapshotCache[str], key: str, value: str = "state", at: float = T) -> Outcome:
    return cache.finish_fill(cache.begin_fill(key, at), value, at).outcome


class TestTrust:
    def test_nothing_is_trusted_before_the_first_heartbeat_returns(self) -> None:
        cache = SnapshotCache[str](max_entries=1, max_bytes=1000, weigh=len)
        assert not cache.trusted(T)
        cache.listener_connected()
        cache.heartbeat_sent(1, T)
        assert not cache.trusted(T)
        assert cache.heartbeat_age(T) == float("inf")
        cache.heartbeat_received(1, T)
        assert cache.trusted(T)

    def test_trust_counts_from_the_sending_and_its_end_is_not_in_it(self) -> None:
        cache = listening_cache()
        cache.heartbeat_sent(2, T + 0.25)
        cache.heartbeat_received(2, T + 0.8)
        assert cache.trusted(T + 0.25 + BOUND_SECONDS - 0.001)
        assert not cache.trusted(T + 0.25 + BOUND_SECONDS)
        assert cache.heartbeat_age(T + 1) == 0.75

    def test_an_unknown_or_repeated_heartbeat_counts_for_nothing(self) -> None:
        cache = listening_cache()
        assert not cache.heartbeat_received(1, T + 0.5)
        assert not cache.heartbeat_received(77, T + 0.5)
        assert not cache.trusted(T + BOUND_SECONDS)

    def test_heartbeats_of_a_lost_connection_count_for_nothing(self) -> None:
        cache = listening_cache()
        cache.heartbeat_sent(2, T + 0.5)
        cache.listener_lost()
        assert not cache.heartbeat_received(2, T + 0.6)
        cache.heartbeat_sent(3, T + 0.5)
        cache.listener_connected()
        assert not cache.heartbeat_received(3, T + 0.6)
        assert not cache.trusted(T + 0.6)

    def test_a_late_heartbeat_does_not_shorten_trust(self) -> None:
        cache = listening_cache()
        cache.heartbeat_sent(2, T + 0.1)
        cache.heartbeat_sent(3, T + 0.2)
        assert cache.heartbeat_received(3, T + 0.3)
        assert not cache.heartbeat_received(2, T + 0.4)
        assert cache.trusted(T + 0.2 + BOUND_SECONDS - 0.001)

    def test_a_ticket_ends_when_it_was_to_end_whatever_heartbeats_come_later(self) -> None:
        cache = listening_cache()
        fill(cache, "cust_a")
        ticket = cache.read("cust_a", T + 0.1)
        assert ticket is not None
        cache.heartbeat_sent(2, T + 0.8)
        cache.heartbeat_received(2, T + 0.8)
        assert cache.still_trusted(ticket, T + BOUND_SECONDS - 0.001)
        assert not cache.still_trusted(ticket, T + BOUND_SECONDS)

    def test_reads_without_trust_pass_by_and_are_counted(self) -> None:
        cache = listening_cache()
        fill(cache, "cust_a")
        assert cache.read("cust_a", T + BOUND_SECONDS) is None
        assert cache.counters().stale_bypasses == 1


class TestChange:
    def test_a_notification_evicts_its_key_only(self) -> None:
        cache = listening_cache()
        for key in ("cust_a", "cust_b", CATALOGUE):
            fill(cache, key)
        cache.notify("cust_a")
        assert cache.read("cust_a", T) is None
        assert cache.read("cust_b", T) is not None
        cache.notify(CATALOGUE)
        assert cache.read(CATALOGUE, T) is None
        assert cache.read("cust_b", T) is not None
        assert cache.counters().invalidations == 2

    @pytest.mark.parametrize("payload", [ALL, ""])
    def test_all_and_nothing_evict_everything(self, payload: str) -> None:
        cache = listening_cache()
        fill(cache, "cust_a")
        fill(cache, CATALOGUE)
        cache.notify(payload)
        assert cache.size() == (0, 0)
        assert cache.trusted(T)

    @pytest.mark.parametrize("payload", ["cust_a", ALL])
    def test_an_answer_that_may_have_missed_a_change_is_good_once(self, payload: str) -> None:
        cache = listening_cache()
        asked = cache.begin_fill("cust_a", T)
        cache.notify(payload)
        result = cache.finish_fill(asked, "state", T + 0.5)
        assert result.outcome is Outcome.UNCACHED
        assert result.ticket == ("state", T + BOUND_SECONDS)
        assert cache.read("cust_a", T + 0.5) is None
        assert cache.counters().dirty_fills == 1

    def test_an_answer_that_may_have_missed_a_change_and_is_old_is_asked_for_again(self) -> None:
        cache = listening_cache()
        asked = cache.begin_fill("cust_a", T)
        cache.notify("cust_a")
        assert cache.finish_fill(asked, "state", T + BOUND_SECONDS) == (Outcome.ASK_AGAIN, None)

    def test_a_slow_clean_answer_is_kept_while_heartbeats_vouch_for_it(self) -> None:
        cache = listening_cache()
        asked = cache.begin_fill("cust_a", T)
        cache.heartbeat_sent(2, T + 2)
        cache.heartbeat_received(2, T + 2)
        result = cache.finish_fill(asked, "state", T + 2)
        assert result.outcome is Outcome.STORED
        assert result.ticket == ("state", T + 2 + BOUND_SECONDS)

    def test_another_customer_s_change_does_not_dirty_a_fill(self) -> None:
        cache = listening_cache()
        asked = cache.begin_fill("cust_a", T)
        cache.notify("cust_b")
        assert cache.finish_fill(asked, "state", T).outcome is Outcome.STORED

    def test_connecting_dirties_the_fills_of_the_gap_and_drops_the_cache(self) -> None:
        cache = listening_cache()
        fill(cache, "cust_b")
        asked = cache.begin_fill("cust_a", T)
        cache.listener_lost()
        cache.listener_connected()
        assert cache.finish_fill(asked, "state", T).outcome is Outcome.UNCACHED
        assert cache.size() == (0, 0)

    def test_nothing_is_kept_while_nobody_listens(self) -> None:
        cache = listening_cache()
        cache.listener_lost()
        assert fill(cache, "cust_a") is Outcome.UNCACHED
        assert cache.size() == (0, 0)

    def test_what_does_not_exist_is_answered_and_not_remembered(self) -> None:
        cache = listening_cache()
        result = cache.finish_fill(cache.begin_fill("cust_x", T), None, T)
        assert result.outcome is Outcome.UNCACHED
        assert result.ticket is not None
        assert result.ticket.value is None
        assert cache.size() == (0, 0)

    def test_a_fill_that_failed_leaves_nothing_behind(self) -> None:
        cache = listening_cache()
        cache.abandon_fill(cache.begin_fill("cust_a", T))
        assert cache._fills == {}

    def test_a_forked_child_knows_nothing(self) -> None:
        cache = listening_cache()
        fill(cache, "cust_a")
        cache._lock.acquire()  # held by a thread that the child does not have
        cache.forked()
        assert not cache.trusted(T)
        assert cache.size() == (0, 0)


class TestBounds:
    def test_the_least_recently_used_goes_first(self) -> None:
        cache = listening_cache(max_entries=2)
        fill(cache, "cust_a")
        fill(cache, "cust_b")
        cache.read("cust_a", T)
        fill(cache, "cust_c")
        assert cache.read("cust_b", T) is None
        assert cache.read("cust_a", T) is not None
        assert cache.counters().evictions == 1

    def test_bytes_are_bounded_and_given_back(self) -> None:
        room = 2 * (ENTRY_OVERHEAD_BYTES + len("cust_a") + 100)
        cache = listening_cache(max_bytes=room)
        for key in ("cust_a", "cust_b", "cust_c"):
            fill(cache, key, "x" * 100)
        assert cache.size() == (2, room)
        fill(cache, "cust_c", "x" * 50)
        assert cache.size() == (2, room - 50)
        cache.notify("cust_b")
        assert cache.size() == (1, room // 2 - 50)

    def test_a_value_too_large_to_keep_is_answered_once_and_evicts_nobody(self) -> None:
        cache = listening_cache(max_bytes=1000)
        fill(cache, "cust_a")
        assert fill(cache, "cust_b", "x" * 1000) is Outcome.UNCACHED
        assert cache.read("cust_a", T) is not None
        assert cache.counters().oversized == 1

    def test_a_cache_without_room_is_refused(self) -> None:
        with pytest.raises(ValueError, match="room"):
            SnapshotCache[str](max_entries=0, max_bytes=1, weigh=len)


class TestReadThrough:
    def test_asks_once_and_then_remembers(self) -> None:
        cache = listening_cache()
        asked: list[int] = []

        def ask() -> str:
            asked.append(1)
            return "state"

        for _ in range(3):
            assert read_through(cache, "cust_a", ask=ask, clock=lambda: T).value == "state"
        assert len(asked) == 1
        counters = cache.counters()
        assert (counters.hits, counters.misses, counters.fills) == (2, 1, 1)

    def test_asks_again_when_the_answer_came_late_but_not_for_ever(self) -> None:
        cache = listening_cache()
        clock = iter(T + step for step in range(100))
        with pytest.raises(FreshnessUnknown):
            read_through(cache, "cust_a", ask=lambda: "state", clock=lambda: next(clock))
        assert cache.counters().fills == cache.counters().expired_fills == MAX_QUESTIONS

    def test_an_error_of_the_database_passes_through_and_leaves_no_fill(self) -> None:
        cache = listening_cache()

        def ask() -> str:
            raise ConnectionError

        with pytest.raises(ConnectionError):
            read_through(cache, "cust_a", ask=ask, clock=lambda: T)
        assert cache._fills == {}

    def test_threads_never_see_the_state_before_a_change_that_was_announced(self) -> None:
        """Readers race a writer; each read begun after `notify` returned must give what was written before it."""
        cache = listening_cache()
        database = {"version": 0}
        announced = {"version": 0}
        too_old: list[tuple[int, int]] = []
        stop = threading.Event()

        def reader() -> None:
            while not stop.is_set():
                floor = announced["version"]
                ticket = read_through(cache, "cust_a", ask=lambda: str(database["version"]), clock=lambda: T)
                if int(ticket.value or "0") < floor:
                    too_old.append((int(ticket.value or "0"), floor))

        threads = [threading.Thread(target=reader) for _ in range(4)]
        for thread in threads:
            thread.start()
        for version in range(1, 2000):
            database["version"] = version
            cache.notify("cust_a")
            announced["version"] = version
        stop.set()
        for thread in threads:
            thread.join()
        assert too_old == []
