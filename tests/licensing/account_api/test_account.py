"""`/api/account/`: a customer's own things by its own keys and people, and nothing of anybody else."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.middleware.csrf import _get_new_csrf_string
from django.test import Client

from accounts.models import ApiKey, Membership, Role, User
from accounts.services.api_keys import revoke_api_key
from accounts.services.customers import suspend_customer
from licensing.core.models import AuditEvent
from licensing.models import Installation
from tests import cast

ACCOUNT = "/api/account"


def body_of(response) -> dict:
    return json.loads(response.content)


@pytest.fixture
def key(acme):
    return cast.key_of(acme)


def person(owner, role: str, email: str = "eve@example.com") -> Client:
    user = User.objects.filter(email=email).first() or User.objects.create_user(email)
    Membership.objects.update_or_create(user=user, customer=owner, defaults={"role": role})
    client = Client(enforce_csrf_checks=True)
    client.force_login(user, backend=settings.AUTHENTICATION_BACKENDS[0])
    return client


def installation(owner, fingerprint: str) -> Installation:
    return Installation.objects.create(
        id=f"inst_{owner.pk}_{fingerprint}", customer=owner, plugin_id="api-logger", fingerprint=fingerprint
    )


def test_a_key_sees_its_own_customer_alone(key, acme, globex):
    installation(acme, "one")
    installation(globex, "two")
    cast.key_of(globex)
    assert body_of(key.get(f"{ACCOUNT}/customer"))["id"] == "acme_1"
    assert body_of(key.get(f"{ACCOUNT}/subscription"))["tier"] == "Pro"
    for path in ("api-keys", "installations", "audit"):
        shown = body_of(key.get(f"{ACCOUNT}/{path}/"))["results"]
        assert shown
        assert {each["customer_id"] for each in shown} == {"acme_1"}


def test_anothers_things_are_like_missing_ones(key, acme, globex):
    theirs = installation(globex, "two")
    their_key = ApiKey.objects.get(pk=body_of(cast.key_of(globex).get(f"{ACCOUNT}/api-keys/"))["results"][0]["id"])
    for path, there, missing in (
        ("installations", theirs.id, "inst_none"),
        ("api-keys", their_key.id, "key_none"),
    ):
        seen, absent = key.get(f"{ACCOUNT}/{path}/{there}"), key.get(f"{ACCOUNT}/{path}/{missing}")
        assert seen.status_code == absent.status_code == 404
        assert {**body_of(seen), "request_id": ""} == {**body_of(absent), "request_id": ""}
    assert key.post(f"{ACCOUNT}/installations/{theirs.id}/release").status_code == 404
    assert key.post(f"{ACCOUNT}/api-keys/{their_key.id}/revoke").status_code == 404
    theirs.refresh_from_db()
    assert theirs.released_at is None


def test_scopes_decide_what_a_key_may_do(acme):
    reader = cast.key_of(acme, scopes=["account:read"])
    writer = cast.key_of(acme, scopes=["account:write"])
    plain = cast.key_of(acme, scopes=["plugins:authenticate"])
    assert reader.get(f"{ACCOUNT}/api-keys/").status_code == 200
    for refused in (
        reader.post(f"{ACCOUNT}/api-keys/", {"name": "x"}),
        writer.get(f"{ACCOUNT}/api-keys/"),
        plain.get(f"{ACCOUNT}/customer"),
    ):
        assert (refused.status_code, body_of(refused)["code"]) == (403, "SCOPE_MISSING")
    people = cast.key_of(acme).post(f"{ACCOUNT}/members/", {"email": "x@example.com"})
    assert (people.status_code, body_of(people)["code"]) == (403, "PERMISSION_MISSING")


def test_the_codes_of_keys_are_those_of_the_plugin_api(acme):
    now = datetime.now(UTC)
    expired = cast.key_of(acme, expires_at=now)
    elsewhere = cast.key_of(acme, cidrs=["198.51.100.0/24"])
    revoked = cast.key_of(acme)
    row = ApiKey.objects.get(last4=revoked.credential[-4:])
    revoke_api_key(api_key=row, actor=cast.ACTOR, now=now)
    for client, status, code in (
        (expired, 401, "API_KEY_EXPIRED"),
        (revoked, 401, "API_KEY_REVOKED"),
        (elsewhere, 403, "IP_NOT_ALLOWED"),
        (cast.Api("km_live_" + "0" * 36), 401, "API_KEY_INVALID"),
        (cast.Api(""), 401, "AUTHENTICATION_REQUIRED"),
    ):
        response = client.get(f"{ACCOUNT}/customer")
        assert (response.status_code, body_of(response)["code"]) == (status, code)
        assert (status == 401) is ("WWW-Authenticate" in response)


def test_a_key_hands_on_no_more_than_it_has(acme):
    soon = datetime.now(UTC) + timedelta(days=1)
    limited = cast.key_of(
        acme, mode="test", scopes=["account:read", "account:write"], cidrs=["127.0.0.0/8"], expires_at=soon
    )
    fine = {
        "name": "x",
        "mode": "test",
        "scopes": ["account:read"],
        "cidrs": ["127.0.0.1"],
        "expires_at": soon.isoformat(),
    }
    path = f"{ACCOUNT}/api-keys/"
    made = limited.post(path, fine)
    assert made.status_code == 201
    for more in (
        {"mode": "live"},
        {"scopes": ["builds"]},
        {"cidrs": []},
        {"cidrs": ["0.0.0.0/0"]},
        {"expires_at": None},
        {"expires_at": (soon + timedelta(seconds=1)).isoformat()},
    ):
        refused = limited.post(path, fine | more)
        assert (refused.status_code, body_of(refused)["code"]) == (403, "PERMISSION_MISSING")
    strong = ApiKey.objects.get(last4=cast.key_of(acme).credential[-4:])
    assert limited.post(f"{path}{strong.id}/rotate").status_code == 403
    assert limited.patch(f"{path}{body_of(made)['id']}", {"cidrs": []}).status_code == 403
    assert ApiKey.objects.get(pk=body_of(made)["id"]).cidrs == ["127.0.0.1/32"]
    assert limited.post(f"{path}{strong.id}/revoke").status_code == 200


def test_a_key_rotates_itself_and_both_live_for_the_overlap(key):
    mine = body_of(key.get(f"{ACCOUNT}/api-keys/"))["results"][0]
    rotated = body_of(key.post(f"{ACCOUNT}/api-keys/{mine['id']}/rotate", {"overlap_seconds": 60}))
    assert cast.Api(rotated["key"]).get(f"{ACCOUNT}/customer").status_code == 200
    assert key.get(f"{ACCOUNT}/customer").status_code == 200
    assert key.post(f"{ACCOUNT}/api-keys/{mine['id']}/rotate").status_code == 409


def test_a_suspended_customers_keys_are_refused(acme, key):
    suspend_customer(customer=acme, reason="x", actor=cast.ACTOR, now=datetime.now(UTC))
    response = key.get(f"{ACCOUNT}/customer")
    assert (response.status_code, body_of(response)["code"]) == (403, "CUSTOMER_SUSPENDED")


def test_an_installation_is_released(key, acme):
    row = installation(acme, "one")
    released = body_of(key.post(f"{ACCOUNT}/installations/{row.id}/release"))
    assert (released["released_reason"], released["id"]) == ("customer", row.id)


@pytest.mark.parametrize(
    ("role", "allowed"),
    [("owner", 200), ("admin", 200), ("developer", 200), ("billing", 403), ("viewer", 403)],
)
def test_a_session_has_the_rights_of_its_role(acme, role, allowed):
    assert person(acme, role).get(f"{ACCOUNT}/api-keys/").status_code == allowed


def test_a_session_is_of_one_organisation_at_a_time(acme, globex):
    client = person(acme, Role.OWNER)
    person(globex, Role.VIEWER)
    assert client.get(f"{ACCOUNT}/customer").status_code == 401
    assert body_of(client.get(f"{ACCOUNT}/customer", headers={"X-Customer-ID": "globex_1"}))["id"] == "globex_1"
    assert client.get(f"{ACCOUNT}/api-keys/", headers={"X-Customer-ID": "globex_1"}).status_code == 403
    assert client.get(f"{ACCOUNT}/customer", headers={"X-Customer-ID": "other_1"}).status_code == 401


def test_a_sessions_write_needs_the_csrf_token(acme):
    client = person(acme, Role.OWNER)
    body = {"data": {"name": "x"}, "content_type": "application/json"}
    assert client.post(f"{ACCOUNT}/api-keys/", **body).status_code == 403
    secret = _get_new_csrf_string()
    client.cookies[settings.CSRF_COOKIE_NAME] = secret
    headers = {"X-CSRFToken": secret, "Idempotency-Key": "once"}
    first = client.post(f"{ACCOUNT}/api-keys/", headers=headers, **body)
    assert first.status_code == 201
    again = client.post(f"{ACCOUNT}/api-keys/", headers=headers, **body)
    assert body_of(again)["key"] == body_of(first)["key"]


def test_what_an_organisation_asks_of_its_people_holds_for_sessions(acme):
    client = person(acme, Role.OWNER)
    acme.portal_cidrs = ["198.51.100.0/24"]
    acme.save()
    assert client.get(f"{ACCOUNT}/customer").status_code == 403
    acme.portal_cidrs, acme.require_mfa = [], True
    acme.save()
    assert client.get(f"{ACCOUNT}/customer").status_code == 403
    session = client.session
    session["account_authentication_methods"] = [{"method": "password"}, {"method": "mfa", "type": "totp"}]
    session.save()
    assert client.get(f"{ACCOUNT}/customer").status_code == 200


def test_only_owners_make_owners(acme):
    client, secret = person(acme, Role.ADMIN), _get_new_csrf_string()
    client.cookies[settings.CSRF_COOKIE_NAME] = secret
    headers = {"X-CSRFToken": secret}

    def invite(role: str) -> int:
        body = {"email": f"{role}@example.com", "role": role}
        return client.post(f"{ACCOUNT}/members/", body, content_type="application/json", headers=headers).status_code

    assert invite("developer") == 201
    assert invite("owner") == 403


def test_the_audit_log_is_exported_as_json_lines_and_csv(key, acme, admin, globex):
    admin.patch("/api/manage/customers/acme_1", {"name": "=cmd()"})
    AuditEvent.objects.create(
        actor_kind="person", actor_id="1", actor_display="=HYPERLINK(1)", action="x", customer_id="acme_1"
    )
    lines = key.get(f"{ACCOUNT}/audit/export").content.decode().splitlines()
    events = [json.loads(line) for line in lines]
    assert {event["customer_id"] for event in events} == {"acme_1"}
    assert [event["id"] for event in events] == sorted((event["id"] for event in events), reverse=True)
    by_operator = next(event for event in events if event["action"] == "customer.changed")
    assert by_operator["actor"] == {"kind": "operator", "id": "", "display": ""}
    exported = key.get(f"{ACCOUNT}/audit/export?form=csv")
    assert exported["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(exported.content.decode())))
    assert len(rows) == len(events)
    assert rows[0]["actor_display"] == "'=HYPERLINK(1)"
    assert key.get(f"{ACCOUNT}/audit/export?form=xml").status_code == 400
