"""When each session was last seen, and from where."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from allauth.usersessions.models import UserSession
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from tests.portal_cast import PortalCast
from tests.signing_in import PASSWORD


def signed_in(person: User) -> Client:
    """A browser of somebody who came in by the form: only then is the session listed."""
    person.set_password(PASSWORD)
    person.save()
    client = Client()
    client.post("/account/login", {"login": person.email, "password": PASSWORD})
    return client


def seen(person: User) -> datetime:
    at: datetime = UserSession.objects.get(user=person).last_seen_at
    return at


def age(person: User, by: timedelta) -> datetime:
    """Make a session one that was last seen a while ago."""
    at = datetime.now(UTC) - by
    UserSession.objects.filter(user=person).update(last_seen_at=at, ip="192.0.2.1")
    return at


def test_a_session_that_is_used_is_seen(cast: PortalCast) -> None:
    owner = cast.people["owner"]
    client = signed_in(owner)
    before = age(owner, timedelta(hours=3))
    client.get("/portal/acme_1", REMOTE_ADDR="192.0.2.9")
    row = UserSession.objects.get(user=owner)
    assert row.last_seen_at > before + timedelta(hours=2)
    assert row.ip == "192.0.2.9"
    shown = client.get("/account/sessions").content.decode()
    assert row.last_seen_at.strftime("%Y-%m-%dT%H:%M:%S") in shown
    assert "192.0.2.9" in shown


def test_it_is_written_once_a_minute_at_most(cast: PortalCast) -> None:
    owner = cast.people["owner"]
    client = signed_in(owner)
    before = age(owner, timedelta(seconds=30))
    for _ in range(3):
        client.get("/account")
    assert seen(owner) == before
    with CaptureQueriesContext(connection) as queries:
        client.get("/account")
    assert sum('UPDATE "usersessions_usersession"' in each["sql"] for each in queries) == 1


def test_other_peoples_sessions_and_programs_are_not_seen(cast: PortalCast) -> None:
    owner, admin = cast.people["owner"], cast.people["admin"]
    signed_in(admin)
    before = age(admin, timedelta(hours=1))
    signed_in(owner).get("/account")
    cast.client(None).get("/account/login")
    assert seen(admin) == before


def test_whoever_signed_out_is_not_seen_any_more(cast: PortalCast) -> None:
    owner = cast.people["owner"]
    client = signed_in(owner)
    age(owner, timedelta(hours=1))
    client.post("/account/logout")
    assert not UserSession.objects.filter(
        user=owner, last_seen_at__gt=datetime.now(UTC) - timedelta(minutes=5)
    ).exists()
