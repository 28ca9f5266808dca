"""The outbox: at least once, in order per customer, whatever fails between (DESIGN §10)."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, connections, transaction
from django.db.transaction import TransactionManagementError

from licensing.core import outbox
from licensing.core.models import OutboxEvent

# Later than anything that is emitted while these tests run: what was emitted is due.
NOW = datetime.now(UTC) + timedelta(hours=1)


class Heard:
    """What a subscriber was told, in order."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int]] = []
        self._lock = threading.Lock()

    def __call__(self, event: OutboxEvent) -> None:
        with self._lock:
            self.events.append((event.customer_id, event.payload["n"]))

    def of(self, customer_id: str) -> list[int]:
        return [number for each, number in self.events if each == customer_id]


class Crash(BaseException):
    """The process dies here: nothing catches it."""


@pytest.fixture(autouse=True)
def no_subscribers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_subscribers", {})


@pytest.fixture
def heard() -> Heard:
    heard = Heard()
    outbox.subscribe("test.happened", heard)
    return heard


def emit(customer_id: str, *numbers: int, name: str = "test.happened") -> None:
    for number in numbers:
        with transaction.atomic():
            outbox.emit(name, customer_id=customer_id, payload={"n": number})


def dispatch(seconds: float = 0) -> int:
    return outbox.dispatch_pending(now=NOW + timedelta(seconds=seconds))


@pytest.mark.django_db
class TestDelivery:
    def test_each_event_once_and_in_order(self, heard: Heard) -> None:
        for number in range(5):
            emit("cust_b", number)
            emit("cust_a", number)
        assert dispatch() == 10
        assert heard.of("cust_a") == heard.of("cust_b") == [0, 1, 2, 3, 4]
        assert dispatch() == 0
        assert not OutboxEvent.objects.filter(dispatched_at=None).exists()

    def test_every_subscriber_of_the_name_and_no_other(self, heard: Heard) -> None:
        second, other = Heard(), Heard()
        outbox.subscribe("test.happened", second)
        outbox.subscribe("test.happened", second)
        outbox.subscribe("test.other", other)
        emit("cust_a", 1)
        dispatch()
        assert (heard.of("cust_a"), second.of("cust_a"), other.events) == ([1], [1], [])

    def test_what_nobody_subscribes_to_is_done_all_the_same(self) -> None:
        emit("cust_a", 1)
        assert dispatch() == 1

    def test_more_events_than_one_run_takes(self, heard: Heard) -> None:
        emit("cust_a", *range(7))
        assert [outbox.dispatch_pending(now=NOW, limit=3) for _ in range(4)] == [3, 3, 1, 0]
        assert heard.of("cust_a") == list(range(7))

    def test_an_event_of_a_change_that_was_rolled_back_never_was(self, heard: Heard) -> None:
        with transaction.atomic():
            outbox.emit("test.happened", customer_id="cust_a", payload={"n": 1})
            transaction.set_rollback(True)
        assert dispatch() == 0
        assert not OutboxEvent.objects.exists()


@pytest.mark.django_db
class TestPoison:
    """A subscriber that fails holds up its own customer's queue for a while, and nobody else's."""

    @pytest.fixture
    def poisoned(self, heard: Heard) -> Iterator[list[int]]:
        failures: list[int] = []

        def fail(event: OutboxEvent) -> None:
            if event.customer_id.startswith("cust_bad") and event.payload["n"] == 1:
                failures.append(1)
                raise ValueError("poison")

        outbox.subscribe("test.happened", fail)
        return failures

    def test_others_go_on_and_its_own_wait(self, heard: Heard, poisoned: list[int]) -> None:
        emit("cust_bad", 0, 1, 2)
        emit("cust_good", 0, 1, 2)
        assert dispatch() == 4
        assert heard.of("cust_good") == [0, 1, 2]
        assert OutboxEvent.objects.filter(customer_id="cust_bad", dispatched_at=None).count() == 2

    def test_it_is_tried_again_later_and_later(self, heard: Heard, poisoned: list[int]) -> None:
        emit("cust_bad", 1)
        waited = 0
        for attempt, delay in enumerate((2, 4, 8, 16), start=1):
            dispatch(waited)
            assert len(poisoned) == attempt
            dispatch(waited + delay - 1)
            assert len(poisoned) == attempt
            waited += delay

    def test_after_twelve_attempts_it_is_set_aside_and_the_queue_goes_on(
        self, heard: Heard, poisoned: list[int]
    ) -> None:
        emit("cust_bad", 1, 2)
        for attempt in range(outbox.MAX_ATTEMPTS + 1):
            dispatch(attempt * 1000)
        assert len(poisoned) == outbox.MAX_ATTEMPTS
        failed = OutboxEvent.objects.get(payload__n=1)
        assert (failed.attempts, failed.dispatched_at) == (outbox.MAX_ATTEMPTS, None)
        assert failed.failed_at is not None
        assert heard.of("cust_bad")[-1] == 2

    def test_many_that_wait_do_not_keep_others_from_their_turn(self, heard: Heard, poisoned: list[int]) -> None:
        for number in range(6):
            emit(f"cust_bad_{number}", 1)
        outbox.dispatch_pending(now=NOW)
        emit("cust_good", 1)
        assert outbox.dispatch_pending(now=NOW, limit=5) == 1
        assert heard.of("cust_good") == [1]

    def test_what_other_subscribers_wrote_is_undone_with_it(self, heard: Heard, poisoned: list[int]) -> None:
        outbox.subscribe(
            "test.first",
            lambda event: OutboxEvent.objects.filter(pk=event.pk).update(name="written") and None,
        )

        def fail(_: OutboxEvent) -> None:
            raise ValueError

        outbox.subscribe("test.first", fail)
        emit("cust_a", 1, name="test.first")
        dispatch()
        assert OutboxEvent.objects.get().name == "test.first"

    def test_a_statement_that_fails_does_not_break_the_queue(self, heard: Heard) -> None:
        def break_transaction(_: OutboxEvent) -> None:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1/0")

        outbox.subscribe("test.broken", break_transaction)
        emit("cust_a", 1, name="test.broken")
        emit("cust_b", 1)
        dispatch()
        assert heard.of("cust_b") == [1]
        assert OutboxEvent.objects.get(name="test.broken").attempts == 1

    def test_the_log_names_the_error_and_not_what_it_says(self, heard: Heard, caplog: pytest.LogCaptureFixture) -> None:
        def fail(_: OutboxEvent) -> None:
            raise ValueError("a secret in a message")

        outbox.subscribe("test.happened", fail)
        emit("cust_a", 1)
        with caplog.at_level("DEBUG"):
            dispatch()
        assert "a secret" not in caplog.text


@pytest.mark.django_db(transaction=True)
class TestCrash:
    def test_an_event_outside_of_a_transaction_is_refused(self) -> None:
        with pytest.raises(TransactionManagementError):
            outbox.emit("test.happened")

    def test_a_crash_after_the_subscriber_means_once_more(self, heard: Heard) -> None:
        def die(_: OutboxEvent) -> None:
            if len(heard.events) == 1:
                raise Crash

        outbox.subscribe("test.happened", die)
        emit("cust_a", 1, 2)
        with pytest.raises(Crash):
            dispatch()
        assert heard.of("cust_a") == [1]
        assert OutboxEvent.objects.filter(dispatched_at=None).count() == 2
        assert dispatch() == 2
        assert heard.of("cust_a") == [1, 1, 2]

    def test_two_dispatchers_at_once(self, heard: Heard) -> None:
        """Each event once, each customer's in order, however the two interleave."""
        for customer in range(8):
            emit(f"cust_{customer}", *range(12))
        done = at_once([dispatch] * 4)
        while dispatch():
            pass
        assert sum(done) <= 96
        for customer in range(8):
            assert heard.of(f"cust_{customer}") == list(range(12))

    def test_a_second_dispatcher_does_not_overtake_the_event_that_the_first_one_holds(self, heard: Heard) -> None:
        entered, leave = threading.Event(), threading.Event()

        def hold(event: OutboxEvent) -> None:
            if event.payload["n"] == 1:
                entered.set()
                assert leave.wait(10)

        outbox.subscribe("test.happened", hold)
        emit("cust_a", 1, 2)
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(_on_own_connection, dispatch)
            assert entered.wait(10)
            assert dispatch() == 0
            leave.set()
            assert first.result(10) == 2
        assert heard.of("cust_a") == [1, 2]

    def test_order_of_id_is_order_of_commit(self) -> None:
        """Who emits later for the same customer waits until the earlier one has committed."""
        emitted, commit = threading.Event(), threading.Event()

        def slow() -> int:
            with transaction.atomic():
                event = outbox.emit("test.happened", customer_id="cust_a", payload={"n": 1})
                emitted.set()
                assert commit.wait(10)
            return event.pk

        def fast() -> int:
            with transaction.atomic():
                return outbox.emit("test.happened", customer_id="cust_a", payload={"n": 2}).pk

        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(_on_own_connection, slow)
            assert emitted.wait(10)
            second = pool.submit(_on_own_connection, fast)
            with transaction.atomic():
                outbox.emit("test.happened", customer_id="cust_other", payload={"n": 3})
            assert not second.done()
            assert list(OutboxEvent.objects.values_list("customer_id", flat=True)) == ["cust_other"]
            commit.set()
            assert first.result(10) < second.result(10)


def at_once(actions: list[Callable[[], int]]) -> list[int]:
    start = threading.Barrier(len(actions))

    def run(action: Callable[[], int]) -> int:
        start.wait(10)
        return _on_own_connection(action)

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(run, actions))


def _on_own_connection(action: Callable[[], int]) -> int:
    try:
        return action()
    finally:
        connections.close_all()
