"""Celery tasks of `licensing`: where they go, when they run, and that running twice does no more than once."""

import importlib
from datetime import UTC, datetime, timedelta

import pytest
from django.apps import apps
from django.conf import settings
from django.db import transaction

from licensing import tasks
from licensing.celery import app
from licensing.core import outbox
from licensing.core.actor import system
from licensing.core.models import OutboxEvent
from licensing.core.role_secrets import ROLES
from licensing.models import SignedKeySet, SigningKey
from licensing.services import key_lifecycle
from licensing.services.key_alarm import raise_key_alarm

ACTOR = system("test")
NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)


@pytest.fixture
def keys(db: None) -> None:
    key_lifecycle.bootstrap(actor=ACTOR, now=NOW)


def emitted(name: str, **fields: object) -> OutboxEvent:
    with transaction.atomic():
        event = outbox.emit(name)
    OutboxEvent.objects.filter(pk=event.pk).update(**fields)
    return event


# -- schedule and routes


def test_everything_scheduled_and_routed_is_a_task_that_exists() -> None:
    for config in apps.get_app_configs():
        if importlib.util.find_spec(f"{config.name}.tasks") is not None:
            importlib.import_module(f"{config.name}.tasks")
    scheduled = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    assert scheduled | set(settings.CELERY_TASK_ROUTES) <= set(app.tasks)


def test_a_scheduled_message_expires_so_that_an_absent_worker_finds_no_pile() -> None:
    for name, entry in settings.CELERY_BEAT_SCHEDULE.items():
        assert entry["options"]["expires"] > 0, name


@pytest.mark.parametrize(
    ("task", "queue"),
    [
        ("licensing.dispatch_outbox", "control"),
        ("licensing.purge_outbox", "control"),
        ("licensing.raise_key_alarm", "control"),
        ("licensing.maintain_keys", "sign"),
        ("licensing.rotate_signing_key", "sign"),
    ],
)
def test_only_sign_is_sent_what_needs_its_keys(task: str, queue: str) -> None:
    assert app.amqp.router.route({}, task)["queue"].name == queue
    assert queue in ROLES


def test_tasks_are_sent_by_our_application_from_any_thread() -> None:
    assert tasks.maintain_keys.app.main == "keywright"
    assert app.conf.broker_url == settings.CELERY_BROKER_URL


# -- the outbox


@pytest.mark.django_db
def test_dispatch_hands_each_event_over_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setitem(outbox._subscribers, "test.happened", [lambda event: seen.append(event.pk)])
    first, second = emitted("test.happened"), emitted("test.happened")
    tasks.dispatch_outbox()
    tasks.dispatch_outbox()
    assert seen == [first.pk, second.pk]


@pytest.mark.django_db
def test_purge_removes_what_was_handed_over_a_week_ago_and_nothing_else() -> None:
    now = datetime.now(UTC)
    old = emitted("test.old", dispatched_at=now - timedelta(days=7, seconds=5))
    kept = [
        emitted("test.recent", dispatched_at=now - timedelta(days=6, hours=23)),
        emitted("test.waiting", created_at=now - timedelta(days=30)),
        emitted("test.failed", failed_at=now - timedelta(days=30)),
    ]
    tasks.purge_outbox()
    tasks.purge_outbox()
    left = set(OutboxEvent.objects.values_list("pk", flat=True))
    assert old.pk not in left
    assert {event.pk for event in kept} <= left


@pytest.mark.django_db
def test_purge_works_in_batches() -> None:
    for _ in range(5):
        emitted("test.old", dispatched_at=NOW - 30 * DAY)
    assert outbox.purge_dispatched(before=NOW, batch=2) == 5


# -- keys


@pytest.mark.django_db
def test_maintain_keys_twice_changes_nothing_twice(keys: None) -> None:
    before = (SigningKey.objects.count(), SignedKeySet.objects.count())
    tasks.maintain_keys()
    tasks.maintain_keys()
    assert (SigningKey.objects.count(), SignedKeySet.objects.count()) == before


@pytest.mark.django_db
def test_rotate_signing_key_delivered_twice_rotates_once(keys: None) -> None:
    leaving = SigningKey.objects.get(purpose="token", state="active").kid
    tasks.rotate_signing_key("token", leaving, True)
    tasks.rotate_signing_key("token", leaving, True)
    assert SigningKey.objects.filter(purpose="token").count() == 2


def alarms() -> list[dict[str, object]]:
    events = OutboxEvent.objects.filter(name="security.alert", payload__alarm="KEY_SET_LATE")
    return list(events.values_list("payload", flat=True))


@pytest.mark.django_db
def test_the_key_alarm_is_raised_once_a_day_while_the_set_is_late(keys: None) -> None:
    issued_at = NOW - 3 * DAY
    SignedKeySet.objects.update(issued_at=issued_at, expires_at=issued_at + 7 * DAY)
    assert raise_key_alarm(now=NOW)
    assert not raise_key_alarm(now=NOW + timedelta(seconds=600))
    assert alarms() == [{"alarm": "KEY_SET_LATE", "expires_at": (issued_at + 7 * DAY).isoformat()}]
    OutboxEvent.objects.update(created_at=NOW - DAY)
    assert raise_key_alarm(now=NOW)
    assert len(alarms()) == 2


@pytest.mark.django_db
@pytest.mark.parametrize(("age_seconds", "is_late"), [(2 * 86400, False), (2 * 86400 + 1, True)])
def test_a_set_is_late_after_two_days(keys: None, age_seconds: int, is_late: bool) -> None:
    SignedKeySet.objects.update(issued_at=NOW - timedelta(seconds=age_seconds))
    assert raise_key_alarm(now=NOW) is is_late


@pytest.mark.django_db
def test_no_set_at_all_is_an_alarm() -> None:
    tasks.raise_key_alarm()
    assert alarms() == [{"alarm": "KEY_SET_LATE", "expires_at": None}]
