"""Usage: what is counted, once, against which quota, and what is left of it when Valkey or a worker dies."""

import threading
from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import close_old_connections, connection
from pytest_django import Settings

from licensing.core.valkey import valkey
from licensing.models import UsageBatch, UsageDay, UsageFlush
from licensing.services import counts
from licensing.services.counts import PENDING, add_counts, flush_usage, purge_usage_marks, stored_events
from licensing.services.usage import Day, count_batch
from tests.licensing.cast import Cast

TODAY = date(2026, 3, 1)
pytestmark = pytest.mark.usefixtures("empty_valkey")


def day(customer_id: str = "cust_123", on: date = TODAY) -> Day:
    return Day(customer_id, "console-logger", on)


def count(batch_id: str, number: int = 10, *, quota: int = 100, of: Day | None = None) -> tuple[bool, int]:
    return count_batch(day=of or day(), batch_id=batch_id, totals={"event:console_logging": number}, quota=quota)


def stored(of: Day | None = None) -> int:
    of = of or day()
    return stored_events(of.customer_id, of.plugin, of.day)


def forget_everything() -> None:
    valkey().run(lambda client: client.flushdb())


@pytest.fixture
def no_valkey(settings: Settings) -> None:
    settings.VALKEY_URL = "unix:///nowhere/at-all.sock?db=0"


@pytest.mark.django_db
class TestQuota:
    def test_adds_up_to_the_quota_and_not_beyond(self, cast: Cast) -> None:
        assert count("batch-01", 60) == (True, 60)
        assert count("batch-02", 41) == (False, 60)
        assert count("batch-03", 40) == (True, 100)
        assert count("batch-04", 1) == (False, 100)

    def test_a_batch_counts_once(self, cast: Cast) -> None:
        assert [count("batch-01") for _ in range(3)] == [(True, 10)] * 3
        assert count("batch-02") == (True, 20)

    def test_a_refused_batch_can_be_sent_again_another_time(self, cast: Cast) -> None:
        assert count("batch-01", 101) == (False, 0)
        assert count("batch-01", 101, quota=200) == (True, 101)

    def test_each_customer_has_its_own(self, cast: Cast) -> None:
        count("batch-01", 100)
        assert count("batch-01", 100, of=day("initech")) == (True, 100)

    def test_begins_anew_at_midnight_and_a_batch_from_before_does_not_count_twice(self, cast: Cast) -> None:
        count("batch-01", 100)
        tomorrow = day(on=TODAY + timedelta(days=1))
        assert count("batch-01", 100, of=tomorrow)[0]
        assert count("batch-02", 100, of=tomorrow) == (True, 100)

    def test_a_clock_that_is_set_back_over_midnight_finds_the_day_as_it_was(self, cast: Cast) -> None:
        tomorrow = day(on=TODAY + timedelta(days=1))
        count("batch-01", 90)
        assert count("batch-02", 70, of=tomorrow) == (True, 70)
        assert count("batch-03", 11) == (False, 90)
        assert count("batch-04", 10) == (True, 100)
        assert count("batch-05", 31, of=tomorrow) == (False, 70)
        flush_usage()
        assert (stored(), stored(tomorrow)) == (100, 70)

    def test_a_day_that_was_flushed_and_lost_is_not_begun_anew_by_a_clock_set_back(self, cast: Cast) -> None:
        count("batch-01", 100)
        count("batch-02", 1, of=day(on=TODAY + timedelta(days=1)))
        flush_usage()
        forget_everything()
        assert count("batch-03", 1) == (False, 100)

    def test_a_day_ends_where_the_next_begins(self) -> None:
        assert day().resets_at == datetime(2026, 3, 2, tzinfo=UTC)

    def test_goes_on_from_what_is_stored_when_valkey_has_lost_it(self, cast: Cast) -> None:
        count("batch-01", 90)
        flush_usage()
        forget_everything()
        assert count("batch-02", 11) == (False, 90)
        assert count("batch-03", 10) == (True, 100)

    def test_is_raised_after_a_flush_when_valkey_came_back_with_an_old_count(self, cast: Cast) -> None:
        count("batch-01", 10)
        old = valkey().run(lambda client: client.dump(_day_key()))
        count("batch-02", 80)
        flush_usage()
        valkey().run(lambda client: client.restore(_day_key(), 0, old, replace=True))
        count("batch-03", 1)
        flush_usage()
        assert count("batch-04", 10) == (False, 91)


@pytest.mark.django_db(transaction=True)
class TestTogether:
    def test_threads_never_exceed_a_days_quota(self, fresh_cast: Cast) -> None:
        counted: list[bool] = []

        def report(who: int) -> None:
            try:
                counted.extend(count(f"batch-{who}-{number}", 3)[0] for number in range(10))
            finally:
                connection.close()

        threads = [threading.Thread(target=report, args=(who,)) for who in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(counted) == 80
        assert sum(counted) == 33
        flush_usage()
        assert stored() == 99

    def test_flushes_at_once_add_each_portion_once(self, fresh_cast: Cast) -> None:
        for number in range(20):
            count(f"batch-{number:02d}", 1)

        def flush() -> None:
            try:
                flush_usage()
            finally:
                close_old_connections()
                connection.close()

        threads = [threading.Thread(target=flush) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert stored() == 20


@pytest.mark.django_db
class TestFlush:
    def test_moves_what_was_counted_by_measure(self, cast: Cast) -> None:
        count("batch-01", 7)
        add_counts({("cust_123", "console-logger", "request:validate", TODAY): 5})
        assert flush_usage() == 2
        assert flush_usage() == 0
        rows = UsageDay.objects.filter(customer_id="cust_123", day=TODAY).values_list("measure", "count")
        assert dict(rows) == {"event:console_logging": 7, "request:validate": 5}

    def test_a_crash_before_the_portion_is_added_loses_nothing(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        count("batch-01")
        self.crash_in("_add_portion", monkeypatch)
        assert stored() == 0
        flush_usage()
        assert stored() == 10

    def test_a_crash_between_the_commit_and_the_removal_counts_once(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        count("batch-01")
        self.crash_in("_remove_portion", monkeypatch)
        assert stored() == 10
        assert flush_usage() == 0
        assert stored() == 10
        assert valkey().run(lambda client: client.keys("usage:portion*")) == []

    def test_an_old_copy_of_what_was_flushed_is_not_added_again(self, cast: Cast) -> None:
        count("batch-01")
        old = valkey().run(lambda client: client.dump(PENDING))
        flush_usage()
        valkey().run(lambda client: client.restore(PENDING, 0, old))
        flush_usage()
        assert stored() == 10

    def test_counts_of_a_customer_that_is_gone_are_passed_over(self, cast: Cast) -> None:
        add_counts({("cust_gone", "console-logger", "request:validate", TODAY): 5})
        flush_usage()
        assert not UsageDay.objects.filter(customer_id="cust_gone").exists()

    def test_many_counts_at_once(self, cast: Cast) -> None:
        add_counts({("cust_123", f"plugin-{number}", "request:validate", TODAY): 1 for number in range(6000)})
        assert flush_usage() == 6000
        assert UsageDay.objects.filter(customer_id="cust_123").count() == 6000

    @staticmethod
    def crash_in(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
        def crash(*_arguments: object) -> None:
            raise SystemExit

        with monkeypatch.context() as patched:
            patched.setattr(counts, step, crash)
            with pytest.raises(SystemExit):
                flush_usage()


@pytest.mark.django_db
class TestWithoutValkey:
    def test_fails_open_and_still_counts_once(self, cast: Cast, no_valkey: None) -> None:
        assert count("batch-01", 90) == (True, 90)
        assert count("batch-01", 90) == (True, 90)
        assert count("batch-02", 90) == (True, 180)

    def test_a_batch_of_the_outage_counts_no_more_after_it(self, cast: Cast, settings: Settings) -> None:
        url = settings.VALKEY_URL
        count("batch-00", 1)
        settings.VALKEY_URL = "unix:///nowhere/at-all.sock?db=0"
        count("batch-01", 90)
        settings.VALKEY_URL = url
        assert count("batch-01", 90)[0]
        flush_usage()
        assert stored() == 91
        assert count("batch-02", 10) == (False, 91)

    def test_the_longest_batch_id_of_the_longest_plugin_name_is_stored(self, cast: Cast, no_valkey: None) -> None:
        of = Day("cust_123", "p" * 64, TODAY)
        assert count("b" * 128, of=of) == (True, 10)


@pytest.mark.django_db
def test_marks_are_forgotten_when_nobody_can_bring_them_again(cast: Cast) -> None:
    now = datetime.now(UTC)
    UsageFlush.objects.create(id="old", flushed_at=now - timedelta(days=8))
    UsageFlush.objects.create(id="new", flushed_at=now - timedelta(days=6))
    UsageBatch.objects.create(customer_id="cust_123", batch_id="old", taken_at=now - timedelta(days=3))
    UsageBatch.objects.create(customer_id="cust_123", batch_id="new", taken_at=now - timedelta(days=1))
    purge_usage_marks(now=now)
    assert [row.id for row in UsageFlush.objects.all()] == ["new"]
    assert [row.batch_id for row in UsageBatch.objects.all()] == ["new"]


def _day_key() -> str:
    return counts.day_key("cust_123", "console-logger", TODAY)
