"""Rate limits: what a bucket gives, who shares it exactly, and that an absent Valkey stops nobody."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
import redis
from pytest_django import Settings

from licensing.core import metrics
from licensing.core import valkey as valkey_module
from licensing.core.errors import TooManyRequests
from licensing.core.valkey import valkey
from licensing.rules.snapshot import Catalogue, CustomerSnapshot, Subscription, Tier
from licensing.services import limits
from tests.licensing.limits.own_valkey import OwnValkey

CATALOGUE = Catalogue(
    is_locked_down=False,
    tiers={"Pro": Tier("Pro", 20, 1000, 1000, 2, {})},
    features={},
    plugins={},
    quarantines=(),
    quarantined_builds=frozenset(),
    signing_keys=(),
    key_set_kids=(),
)


def customer(name: str = "cust_limits", *, places: int | None = None) -> CustomerSnapshot:
    subscription = Subscription("Pro", "active", 4e9, None, places)
    return CustomerSnapshot(name, name, False, False, subscription, (), None, None, None, None, None)


def take(installation: str = "inst_1", *, of: CustomerSnapshot | None = None) -> dict[str, str]:
    return limits.take(installation=installation, customer=of or customer(places=500), catalogue=CATALOGUE)


def allowed_of(attempts: int, attempt: Callable[[], object]) -> int:
    allowed = 0
    for _ in range(attempts):
        try:
            attempt()
        except TooManyRequests:
            continue
        allowed += 1
    return allowed


def failed_open() -> float:
    return metrics.limiter.labels("failed_open")._value.get()


@pytest.fixture(autouse=True)
def limits_on(settings: Settings, empty_valkey: None, monkeypatch: pytest.MonkeyPatch) -> None:
    # One a minute: what is counted here takes less, however busy the machine is.
    settings.RATE_LIMIT_PER_MINUTE = 1
    settings.RATE_LIMIT_BURST = 30
    monkeypatch.setattr(limits, "_blocked_until", {})


class TestInstallation:
    def test_has_a_burst_and_is_then_told_when_to_come_again(self) -> None:
        assert allowed_of(40, take) == 30
        with pytest.raises(TooManyRequests) as refused:
            take()
        headers = refused.value.headers
        assert 1 <= int(headers["Retry-After"]) <= 60
        assert headers["RateLimit-Remaining"] == "0"
        assert headers["RateLimit-Limit"] == "30"
        assert headers["RateLimit-Policy"] == "1;w=60;burst=30"
        assert 29 * 60 <= int(headers["RateLimit-Reset"]) <= 30 * 60

    def test_fills_again_at_its_pace(self, settings: Settings) -> None:
        settings.RATE_LIMIT_PER_MINUTE, settings.RATE_LIMIT_BURST = 600, 2
        allowed_of(3, take)
        until_allowed()

    def test_told_what_is_left(self) -> None:
        assert [take()["RateLimit-Remaining"] for _ in range(3)] == ["29", "28", "27"]

    def test_of_its_own(self) -> None:
        assert allowed_of(30, take) == 30
        assert take("inst_2")["RateLimit-Remaining"] == "29"

    def test_a_refusal_costs_nothing(self) -> None:
        allowed_of(30, take)
        with pytest.raises(TooManyRequests) as first:
            take()
        assert allowed_of(200, take) == 0
        with pytest.raises(TooManyRequests) as last:
            take()
        assert int(last.value.headers["Retry-After"]) <= int(first.value.headers["Retry-After"]) <= 60

    def test_off_at_zero(self, settings: Settings) -> None:
        settings.RATE_LIMIT_PER_MINUTE = 0
        assert [take() for _ in range(50)] == [{}] * 50

    def test_no_window_has_an_edge_at_which_twice_the_limit_passes(self, settings: Settings) -> None:
        settings.RATE_LIMIT_PER_MINUTE, settings.RATE_LIMIT_BURST = 600, 5  # one each 100 ms
        began = time.monotonic()
        allowed = 0
        while time.monotonic() - began < 1.5:
            allowed += allowed_of(1, take)
            assert allowed <= 5 + 10 * (time.monotonic() - began)
        assert allowed >= 5

    def test_no_minute_begins_with_a_new_burst(self) -> None:
        """A counter by calendar minute would let through a burst on either side of its edge."""
        assert allowed_of(40, take) == 30
        for _ in range(5):
            advance(minutes=1)
            assert allowed_of(40, take) == 1
        advance(minutes=10)
        assert allowed_of(40, take) == 10
        advance(minutes=10_000)
        assert allowed_of(40, take) == 30


def advance(*, minutes: int) -> None:
    """Let Valkey's clock go on (or back) by so much, as seen from every bucket: only the difference is ever used."""

    def shift(client: redis.Redis) -> None:
        for key in client.scan_iter("limit:*"):
            client.set(key, int(cast("bytes", client.get(key))) - minutes * 60_000_000)

    valkey().run(shift)


class TestClock:
    """Buckets are kept by Valkey's clock, which can be set back."""

    @pytest.mark.parametrize("minutes", [1, 60, 14_400])
    def test_set_back_it_gives_nothing_and_locks_nobody_out(self, minutes: int) -> None:
        allowed_of(40, take)
        advance(minutes=-minutes)
        with pytest.raises(TooManyRequests) as refused:
            take()
        assert int(refused.value.headers["Retry-After"]) <= 60
        assert allowed_of(40, take) == 0
        advance(minutes=1)
        assert allowed_of(40, take) == 1
        advance(minutes=30)
        assert allowed_of(40, take) == 30

    def test_set_back_the_customers_bucket_goes_on_too(self) -> None:
        of = customer(places=1)
        allowed_of(40, lambda: take(of=of))
        advance(minutes=-1440)
        assert allowed_of(10, lambda: take("inst_fresh", of=of)) == 0
        advance(minutes=1)
        assert allowed_of(10, lambda: take("inst_fresh", of=of)) == 1

    def test_set_back_an_address_is_blocked_for_no_longer(self) -> None:
        assert allowed_of(100, lambda: limits.note_bad_credential("192.0.2.1")) == 100
        advance(minutes=-1440)
        with pytest.raises(TooManyRequests) as refused:
            limits.note_bad_credential("192.0.2.1")
        assert int(refused.value.headers["Retry-After"]) == 30
        valkey().run(lambda client: client.delete("limit:block:192.0.2.1", "limit:strikes:192.0.2.1"))
        advance(minutes=1)
        assert allowed_of(10, lambda: limits.note_bad_credential("192.0.2.1")) == 10

    def test_a_smaller_burst_holds_at_once(self, settings: Settings) -> None:
        allowed_of(25, take)
        settings.RATE_LIMIT_BURST = 5
        with pytest.raises(TooManyRequests) as refused:
            take()
        assert int(refused.value.headers["Retry-After"]) <= 60


class TestCustomer:
    def test_has_its_installation_limit_times_as_much(self) -> None:
        numbers = iter(range(1000))
        assert allowed_of(100, lambda: take(f"inst_{next(numbers)}", of=customer(places=2))) == 60

    def test_without_a_limit_of_its_own_the_tiers(self) -> None:
        numbers = iter(range(1000))
        assert allowed_of(100, lambda: take(f"inst_{next(numbers)}", of=customer(places=None))) == 60

    def test_refused_by_the_customers_bucket_takes_nothing_from_the_installations(self) -> None:
        numbers = iter(range(1000))
        allowed_of(70, lambda: take(f"inst_{next(numbers)}", of=customer(places=2)))
        with pytest.raises(TooManyRequests):
            take("inst_fresh", of=customer(places=2))
        assert take("inst_fresh", of=customer("cust_other", places=2))["RateLimit-Remaining"] == "29"

    def test_a_limit_of_none_at_all_still_lets_one_ask(self) -> None:
        assert allowed_of(40, lambda: take(of=customer(places=0))) == 30


class TestTogether:
    def test_threads_never_get_more_than_the_bucket_holds(self) -> None:
        counts: list[int] = []

        def hammer() -> None:
            counts.append(allowed_of(20, take))

        threads = [threading.Thread(target=hammer) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(counts) == 8
        assert sum(counts) == 30

    def test_threads_of_many_installations_never_get_more_than_their_customer_has(self) -> None:
        counts: list[int] = []

        def hammer(installation: str) -> None:
            counts.append(allowed_of(25, lambda: take(installation, of=customer(places=2))))

        threads = [threading.Thread(target=hammer, args=(f"inst_{number}",)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(counts) == 8
        assert sum(counts) == 60

    def test_processes_never_get_more_than_the_bucket_holds(self) -> None:
        script = Path(__file__).parent / "hammer.py"
        processes = [
            subprocess.Popen([sys.executable, str(script), valkey().url, "40"], stdout=subprocess.PIPE, text=True)
            for _ in range(3)
        ]
        assert sum(int(process.communicate()[0]) for process in processes) == 30


class TestBadCredentials:
    def test_a_hundred_then_a_block_that_lengthens(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert allowed_of(100, lambda: limits.note_bad_credential("192.0.2.1")) == 100
        blocks = []
        for _ in range(4):
            with pytest.raises(TooManyRequests) as refused:
                limits.note_bad_credential("192.0.2.1")
            blocks.append(int(refused.value.headers["Retry-After"]))
            valkey().run(lambda client: client.delete("limit:block:192.0.2.1"))
        assert blocks == [30, 60, 120, 240]

    def test_asking_while_blocked_lengthens_nothing(self) -> None:
        allowed_of(101, lambda: limits.note_bad_credential("192.0.2.1"))
        for _ in range(5):
            with pytest.raises(TooManyRequests) as refused:
                limits.note_bad_credential("192.0.2.1")
            assert int(refused.value.headers["Retry-After"]) <= 30

    def test_a_process_that_knows_of_a_block_asks_nobody(self, monkeypatch: pytest.MonkeyPatch) -> None:
        limits.refuse_if_blocked("192.0.2.1")
        allowed_of(101, lambda: limits.note_bad_credential("192.0.2.1"))
        monkeypatch.setattr(limits, "valkey", None)
        with pytest.raises(TooManyRequests):
            limits.refuse_if_blocked("192.0.2.1")
        limits.refuse_if_blocked("192.0.2.2")

    @pytest.mark.parametrize(
        ("one", "other", "are_one"),
        [
            ("2001:db8::1", "2001:db8::ffff", True),
            ("2001:db8::1", "2001:db8:0:1::1", False),
            ("192.0.2.1", "::ffff:192.0.2.1", True),
            ("192.0.2.1", "192.0.2.2", False),
            ("", "not an address", True),
        ],
    )
    def test_counted_by_subscriber(self, one: str, other: str, are_one: bool) -> None:
        allowed_of(101, lambda: limits.note_bad_credential(one))
        assert (allowed_of(1, lambda: limits.refuse_if_blocked(other)) == 0) is are_one


class TestValkeyAway:
    @pytest.fixture
    def own(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[OwnValkey]:
        monkeypatch.setattr(valkey_module, "_PAUSE_SECONDS", 0.05)
        own = OwnValkey(tmp_path_factory.mktemp("valkey"))
        own.start()
        settings.VALKEY_URL = own.url
        yield own
        own.kill()

    def test_fails_open_counts_it_and_recovers_by_itself(self, own: OwnValkey) -> None:
        assert allowed_of(40, take) == 30
        own.kill()
        before = failed_open()
        assert [take() for _ in range(40)] == [{}] * 40
        limits.note_bad_credential("192.0.2.1")
        assert failed_open() == before + 41
        own.start()
        until_limited()
        assert allowed_of(40, take) <= 30

    def test_a_restart_between_two_requests_is_not_noticed(self, own: OwnValkey) -> None:
        take()
        own.kill()
        own.start()
        before = failed_open()
        assert take()["RateLimit-Remaining"] == "29"
        assert failed_open() == before

    def test_one_that_does_not_answer_costs_a_moment_and_then_nothing(
        self, own: OwnValkey, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(valkey_module, "_PAUSE_SECONDS", 30.0)
        take()
        own.freeze()
        began = time.monotonic()
        assert take() == {}
        assert time.monotonic() - began >= 0.2
        began = time.monotonic()
        assert [take() for _ in range(1000)] == [{}] * 1000
        # Had each of them waited as the first did, they would take minutes.
        assert time.monotonic() - began < 60

    def test_an_answer_that_comes_too_late_is_never_taken_for_the_next_one(self, own: OwnValkey) -> None:
        take("inst_1")
        own.freeze()
        assert take("inst_1") == {}
        own.thaw()
        until_limited()
        assert take("inst_2")["RateLimit-Remaining"] == "29"


def until_limited() -> float:
    """Ask until Valkey is asked again; the seconds that took."""
    began = time.monotonic()
    while not take("inst_probe"):
        assert time.monotonic() - began < 30
        time.sleep(0.02)
    return time.monotonic() - began


def until_allowed() -> None:
    """Ask until one more is let through."""
    began = time.monotonic()
    while allowed_of(1, take) == 0:
        assert time.monotonic() - began < 30
        time.sleep(0.02)
