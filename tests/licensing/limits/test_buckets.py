"""Rate limits: what a bucket gives, who shares it exactly, and that an absent Valkey stops nobody."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
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
    settings.RATE_LIMIT_PER_MINUTE = 60
    settings.RATE_LIMIT_BURST = 30
    monkeypatch.setattr(limits, "_blocked_until", {})


class TestInstallation:
    def test_has_a_burst_and_then_one_a_second(self) -> None:
        assert allowed_of(40, take) == 30
        with pytest.raises(TooManyRequests) as refused:
            take()
        headers = refused.value.headers
        assert headers["Retry-After"] == "1"
        assert headers["RateLimit-Remaining"] == "0"
        assert headers["RateLimit-Limit"] == "30"
        assert headers["RateLimit-Policy"] == "60;w=60;burst=30"
        assert 29 <= int(headers["RateLimit-Reset"]) <= 30

    def test_told_what_is_left(self) -> None:
        assert [take()["RateLimit-Remaining"] for _ in range(3)] == ["29", "28", "27"]

    def test_of_its_own(self) -> None:
        assert allowed_of(30, take) == 30
        assert take("inst_2")["RateLimit-Remaining"] == "29"

    def test_a_refusal_costs_nothing(self) -> None:
        allowed_of(30, take)
        assert allowed_of(200, take) <= 1
        with pytest.raises(TooManyRequests) as refused:
            take()
        assert refused.value.headers["Retry-After"] == "1"

    def test_off_at_zero(self, settings: Settings) -> None:
        settings.RATE_LIMIT_PER_MINUTE = 0
        assert [take() for _ in range(50)] == [{}] * 50

    def test_no_window_has_an_edge_at_which_twice_the_limit_passes(self, settings: Settings) -> None:
        settings.RATE_LIMIT_PER_MINUTE, settings.RATE_LIMIT_BURST = 600, 5  # one each 100 ms
        began = time.monotonic()
        allowed = 0
        while (elapsed := time.monotonic() - began) < 1.5:
            allowed += allowed_of(1, take)
            assert allowed <= 5 + 10 * (time.monotonic() - began)
        assert allowed >= 4 + int(10 * elapsed) - 1


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

        began = time.monotonic()
        threads = [threading.Thread(target=hammer) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 30 <= sum(counts) <= 30 + time.monotonic() - began + 1

    def test_processes_never_get_more_than_the_bucket_holds(self) -> None:
        began = time.monotonic()
        script = Path(__file__).parent / "hammer.py"
        processes = [
            subprocess.Popen([sys.executable, str(script), valkey().url, "40"], stdout=subprocess.PIPE, text=True)
            for _ in range(3)
        ]
        allowed = sum(int(process.communicate()[0]) for process in processes)
        assert 30 <= allowed <= 30 + time.monotonic() - began + 1


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
        assert until_limited() < 5
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
        assert 0.2 <= time.monotonic() - began < 2
        began = time.monotonic()
        assert [take() for _ in range(1000)] == [{}] * 1000
        assert time.monotonic() - began < 1

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
        assert time.monotonic() - began < 10
        time.sleep(0.02)
    return time.monotonic() - began
