"""Last seen, possible clones, uses of keys, and the culling of the silent."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import ApiKeyUse
from licensing.core.clock import from_epoch
from licensing.core.valkey import valkey
from licensing.models import Installation, UsageDay
from licensing.services import seen
from licensing.services.counts import flush_usage
from licensing.services.seen import (
    FLUSH_SECONDS,
    Flusher,
    Recorder,
    Sighting,
    cull_silent,
    write_key_uses,
    write_sightings,
)
from tests.licensing.cast import T0, Cast, make_installation

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("empty_valkey")]
HOME, AWAY = "192.0.2.1", "198.51.100.7"


@pytest.fixture
def installation(cast: Cast) -> Installation:
    return make_installation(
        cast.acme.customer, "machine-1", version="1.0.0", last_seen_at=from_epoch(T0), last_seen_from=HOME
    )


def see(installation: Installation, *sightings: tuple[float, str], version: str = "1.0.0") -> Installation:
    write_sightings([(installation.id, Sighting(T0 + after, address, version)) for after, address in sightings])
    installation.refresh_from_db()
    return installation


class TestLastSeen:
    def test_is_written_when_it_has_grown_enough(self, installation: Installation) -> None:
        enough = seen.GRANULARITY.total_seconds()
        assert see(installation, (enough, HOME)).last_seen_at == from_epoch(T0)
        assert see(installation, (enough + 1, HOME)).last_seen_at == from_epoch(T0 + enough + 1)

    def test_never_goes_back(self, installation: Installation) -> None:
        assert see(installation, (-5000, AWAY)).last_seen_at == from_epoch(T0)

    def test_a_new_version_is_written_at_once(self, installation: Installation) -> None:
        assert see(installation, (1, HOME), version="2.0.0").version == "2.0.0"

    def test_a_released_installation_is_left_alone(self, installation: Installation) -> None:
        Installation.objects.filter(pk=installation.pk).update(released_at=from_epoch(T0))
        assert see(installation, (5000, AWAY)).last_seen_from == HOME

    def test_thousands_take_a_few_statements(self, installation: Installation) -> None:
        many = [(f"inst_{number}", Sighting(T0, HOME, "")) for number in range(4000)]
        with CaptureQueriesContext(connection) as queries:
            write_sightings([*many, (installation.id, Sighting(T0 + 5000, HOME, ""))])
        assert len(queries) == 81  # fifty each
        installation.refresh_from_db()
        assert installation.last_seen_at == from_epoch(T0 + 5000)


class TestPossibleClone:
    def test_seen_here_there_and_here_again(self, installation: Installation) -> None:
        assert see(installation, (60, AWAY)).possible_clone_at is None
        assert see(installation, (120, HOME)).possible_clone_at == from_epoch(T0 + 120)

    def test_even_within_one_flush(self, installation: Installation) -> None:
        assert see(installation, (120, HOME), (60, AWAY)).possible_clone_at == from_epoch(T0 + 120)

    def test_moving_is_none(self, installation: Installation) -> None:
        assert see(installation, (60, AWAY), (600, AWAY), (1200, AWAY)).possible_clone_at is None

    def test_coming_back_a_quarter_of_an_hour_later_is_none(self, installation: Installation) -> None:
        together = seen.TOGETHER.total_seconds()
        see(installation, (60, AWAY))
        assert see(installation, (together, HOME)).possible_clone_at is None

    def test_just_before_that_it_is_one(self, installation: Installation) -> None:
        together = seen.TOGETHER.total_seconds()
        see(installation, (60, AWAY))
        assert see(installation, (together - 1, HOME)).possible_clone_at is not None

    def test_an_anonymous_installation_stands_for_many_machines(self, cast: Cast) -> None:
        anonymous = make_installation(
            cast.acme.customer, "anonymous:key", is_anonymous=True, last_seen_at=from_epoch(T0), last_seen_from=HOME
        )
        assert see(anonymous, (60, AWAY), (120, HOME)).possible_clone_at is None


class TestKeyUse:
    def test_the_latest_is_kept(self, cast: Cast) -> None:
        key_id = cast.acme.api_key.id
        write_key_uses({key_id: (T0 + 10, HOME)})
        write_key_uses({key_id: (T0 + 5, AWAY), "key_gone": (T0, HOME)})
        use = ApiKeyUse.objects.get(pk=key_id)
        assert (use.last_used_at, use.last_used_from) == (from_epoch(T0 + 10), HOME)


class TestRecorder:
    def test_gathers_until_it_is_flushed(self, cast: Cast, installation: Installation) -> None:
        recorder = Recorder()
        for after in (1000, 1001):
            recorder.saw(installation_id=installation.id, address=HOME, version="1.0.0", now=T0 + after)
            recorder.served(customer_id="cust_123", plugin="console-logger", endpoint="validate", now=T0)
        recorder.key_used(key_id=cast.acme.api_key.id, address=HOME, now=T0)
        with CaptureQueriesContext(connection) as queries:
            recorder.flush()
        assert len(queries) == 2
        installation.refresh_from_db()
        assert installation.last_seen_at == from_epoch(T0 + 1000)
        flush_usage()
        assert UsageDay.objects.get(measure="request:validate").count == 2

    @pytest.mark.parametrize(
        ("address", "version", "after", "is_noted"),
        [
            (HOME, "1.0.0", 179, False),
            (HOME, "1.0.0", 180, True),
            (HOME, "1.0.0", -1, True),
            (AWAY, "1.0.0", 1, True),
            (HOME, "1.0.1", 1, True),
        ],
    )
    def test_notes_what_is_new(self, address: str, version: str, after: int, is_noted: bool) -> None:
        recorder = Recorder()
        recorder.saw(installation_id="inst_1", address=HOME, version="1.0.0", now=T0)
        recorder._sightings.clear()
        recorder.saw(installation_id="inst_1", address=address, version=version, now=T0 + after)
        assert bool(recorder._sightings) is is_noted

    @pytest.mark.parametrize(
        ("address", "after", "is_noted"), [(HOME, 59, False), (HOME, 60, True), (HOME, -1, True), (AWAY, 1, True)]
    )
    def test_notes_a_key_to_the_minute(self, address: str, after: int, is_noted: bool) -> None:
        recorder = Recorder()
        recorder.key_used(key_id="key_1", address=HOME, now=T0)
        recorder._keys.clear()
        recorder.key_used(key_id="key_1", address=address, now=T0 + after)
        assert bool(recorder._keys) is is_noted

    @pytest.mark.parametrize("failing", ["add_counts", "write_sightings", "write_key_uses"])
    def test_notes_again_what_could_not_be_written(self, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
        def fail(_gathered: object, *, over_seconds: float) -> None:
            raise RuntimeError

        recorder = Recorder()
        monkeypatch.setattr(seen, "write_sightings", lambda _, **__: None)
        monkeypatch.setattr(seen, failing, fail)
        for moment in (T0, T0 + 1):
            recorder.saw(installation_id="inst_1", address=HOME, version="", now=moment)
            recorder.key_used(key_id="key_1", address=HOME, now=moment)
            assert recorder._sightings
            assert recorder._keys
            with pytest.raises(RuntimeError):
                recorder.flush()

    def test_keeps_counts_while_valkey_is_away(self, cast: Cast, settings: object) -> None:
        recorder = Recorder()
        recorder.served(customer_id="cust_123", plugin="console-logger", endpoint="validate", now=T0)
        url, settings.VALKEY_URL = settings.VALKEY_URL, "unix:///nowhere/at-all.sock?db=0"  # type: ignore[attr-defined]
        recorder.flush()
        settings.VALKEY_URL = url  # type: ignore[attr-defined]
        recorder.served(customer_id="cust_123", plugin="console-logger", endpoint="validate", now=T0)
        recorder.flush()
        flush_usage()
        assert UsageDay.objects.get(measure="request:validate").count == 2

    @pytest.mark.parametrize(("seen_ones", "keys"), [(0, 0), (1, 0), (30, 10)])
    def test_is_done_before_its_next_turn(self, monkeypatch: pytest.MonkeyPatch, seen_ones: int, keys: int) -> None:
        """What is written shares most of the interval, by how much there is of each kind."""
        spread: list[float] = []
        for name in ("add_counts", "write_sightings", "write_key_uses"):
            monkeypatch.setattr(seen, name, lambda _, *, over_seconds: spread.append(over_seconds))
        recorder = Recorder()
        for number in range(seen_ones):
            recorder.saw(installation_id=f"inst_{number}", address=HOME, version="", now=T0)
        for number in range(keys):
            recorder.key_used(key_id=f"key_{number}", address=HOME, now=T0)
        recorder.flush()
        whole = 0.8 * FLUSH_SECONDS / max(1, seen_ones + keys)
        assert spread == pytest.approx([0, whole * seen_ones, whole * keys])

    def test_takes_in_only_so_much(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(seen, "_MAX_WAITING", 3)
        recorder = Recorder()
        for number in range(10):
            recorder.saw(installation_id=f"inst_{number}", address=HOME, version="", now=T0)
            recorder.key_used(key_id=f"key_{number}", address=HOME, now=T0)
        assert (len(recorder._sightings), len(recorder._keys)) == (3, 3)


def test_one_action_that_fails_keeps_no_other_from_its_turn() -> None:
    done: list[str] = []

    def fail() -> None:
        raise OSError("disk")

    Flusher([lambda: done.append("first"), fail, lambda: done.append("last")]).run_once()
    assert done == ["first", "last"]


def test_turns_keep_their_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a turn takes, the next begins an interval after it began; one that was missed is not made up for."""
    now = [100.0]
    slept: list[float] = []
    took = iter([4.0, 0.0, 12.0, 1.0])

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    def turn() -> None:
        now[0] += next(took)

    monkeypatch.setattr(seen, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    flusher = Flusher([], interval_seconds=5.0)
    monkeypatch.setattr(flusher, "run_once", turn)
    with pytest.raises(StopIteration):
        flusher._run()
    assert slept == [5.0, 1.0, 5.0, 0.0, 4.0]


class TestCulling:
    @pytest.mark.parametrize(("silent_days", "culled"), [(29, 0), (30, 0), (31, 1)])
    def test_the_silent_give_their_place_back(
        self, installation: Installation, cast: Cast, silent_days: int, culled: int
    ) -> None:
        now = from_epoch(T0) + timedelta(days=silent_days)
        assert cull_silent(silent_days=30, now=now) == culled
        installation.refresh_from_db()
        assert (installation.released_reason == "silent") is bool(culled)
        assert cull_silent(silent_days=30, now=now) == 0

    def test_never_at_zero(self, installation: Installation) -> None:
        assert cull_silent(silent_days=0, now=datetime(2100, 1, 1, tzinfo=UTC)) == 0


def test_valkey_was_not_asked_once_a_sighting(installation: Installation) -> None:
    recorder = Recorder()
    before = valkey().run(lambda client: client.info("commandstats"))
    for number in range(100):
        recorder.saw(installation_id=installation.id, address=HOME, version="", now=T0 + number)
        recorder.served(customer_id="cust_123", plugin="console-logger", endpoint="validate", now=T0)
    after = valkey().run(lambda client: client.info("commandstats"))
    calls = [sum(each["calls"] for each in stats.values()) for stats in (before, after)]
    assert calls[1] - calls[0] <= 1
