"""Quarantine, report, lockdown, installations and signing keys: what takes access away, and how it is given back."""

import json

import pytest

from licensing.core.models import AuditEvent, OutboxEvent
from licensing.models import Generation, Installation, Quarantine, SigningKey
from tests import cast

ASKED = {"plugin_name": "api-logger", "plugin_version": "1.0.0", "customer_id": "acme_1"}
MACHINE = {"installation": {"fingerprint": "machine-one", "hostname": "web-1"}}
DOOR = "/api/plugins/quarantine/api-logger"


def body_of(response) -> dict:
    return json.loads(response.content)


@pytest.fixture
def key(acme, signing):
    return cast.key_of(acme)


def authenticate(key, **more):
    return key.post("/api/plugins/authenticate", ASKED | MACHINE | more)


def verdict(key, **more) -> str:
    response = authenticate(key, **more)
    return "VALID" if response.status_code == 200 else body_of(response)["code"]


def validated(token: str) -> str:
    body = {"plugin_name": "api-logger", "plugin_token": token}
    return body_of(cast.Api(token).post("/api/plugins/validate", body))["code"]


@pytest.mark.parametrize(
    ("scope", "target", "expected"),
    [
        ("plugin", "", "PLUGIN_QUARANTINED"),
        ("version", "1.0.0", "PLUGIN_QUARANTINED"),
        ("customer", "acme_1", "CUSTOMER_SUSPENDED"),
        ("installation", "{installation}", "INSTALLATION_QUARANTINED"),
    ],
)
def test_a_quarantine_bites_and_lifting_it_gives_access_back(admin, key, scope, target, expected):
    answer = body_of(authenticate(key))
    target = target.format(installation=answer["installation_id"])
    made = admin.post(DOOR, {"scope": scope, "target": target, "reason": "cve"})
    assert (made.status_code, made["Location"]) == (201, f"{DOOR}/{body_of(made)['id']}")
    assert verdict(key) == validated(answer["token"]) == expected
    again = admin.post(DOOR, {"scope": scope, "target": target})
    assert (again.status_code, body_of(again)["id"]) == (200, body_of(made)["id"])
    assert [each["id"] for each in body_of(admin.get(f"{DOOR}?in_force=true"))["results"]] == [body_of(made)["id"]]
    lists = body_of(admin.get("/api/manage/quarantines/?in_force=true"))
    assert lists["results"] == [body_of(made)]
    assert admin.delete(made["Location"]).status_code == 204
    assert admin.delete(made["Location"]).status_code == 204
    assert verdict(key) == "VALID"
    changed = OutboxEvent.objects.filter(name="quarantine.changed").order_by("id")
    assert [event.payload["status"] for event in changed] == ["on", "off"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "scope"),
        ({"scope": "world"}, "scope"),
        ({"scope": "plugin", "target": "other"}, "target"),
        ({"scope": "version"}, "target"),
        ({"scope": "artifact", "target": "abc"}, "target"),
        ({"scope": "build", "target": "bld_none"}, "target"),
        ({"scope": "installation", "target": "inst_none"}, "target"),
        ({"scope": "customer", "target": "nobody_1"}, "target"),
        ({"scope": "plugin", "reson": "typo"}, "reson"),
    ],
)
def test_what_cannot_be_put_under_quarantine_is_refused(admin, acme, body, field):
    response = admin.post(DOOR, body)
    problem = body_of(response)
    assert (response.status_code, problem["field"], problem["success"]) == (400, field, False)
    assert not Quarantine.objects.exists()


def test_a_quarantine_of_no_plugin_and_another_plugins_quarantine_are_404(admin, acme):
    assert admin.post("/api/plugins/quarantine/nothing", {"scope": "plugin"}).status_code == 404
    made = body_of(admin.post(DOOR, {"scope": "plugin"}))
    assert admin.delete(f"/api/plugins/quarantine/analytics/{made['id']}").status_code == 404


def test_a_token_reports_its_own_installation_and_is_out(key, admin):
    answer = body_of(authenticate(key))
    other = body_of(authenticate(key, installation={"fingerprint": "machine-two"}))
    reporter = cast.Api(answer["token"])
    body = {"type": "binary_modified", "plugin_name": "api-logger", "evidence": {"sha256": "00"}}
    done = body_of(reporter.post("/api/plugins/report", body))
    assert (done["success"], done["installation_id"]) == (True, answer["installation_id"])
    assert done["actions"] == ["installation_revoked", "installation_quarantined", "alert_sent"]
    assert validated(answer["token"]) == "TOKEN_REVOKED"
    assert verdict(key) == "INSTALLATION_QUARANTINED"
    assert validated(other["token"]) == "VALID"
    alert = OutboxEvent.objects.get(name="security.alert")
    assert (alert.customer_id, alert.payload["evidence"]) == ("acme_1", {"sha256": "00"})
    again = reporter.post("/api/plugins/report", body)
    assert (again.status_code, body_of(again)["code"]) == (401, "TOKEN_REVOKED")


def test_a_report_touches_nobody_else(key, globex, admin):
    theirs = cast.key_of(globex)
    answer = body_of(authenticate(theirs, customer_id="globex_1"))
    body = {"type": "x", "plugin_name": "api-logger", "installation_id": answer["installation_id"]}
    assert key.post("/api/plugins/report", body).status_code == 404
    assert validated(answer["token"]) == "VALID"
    mine = body_of(authenticate(key))
    wrong = cast.Api(mine["token"]).post("/api/plugins/report", body)
    assert (wrong.status_code, body_of(wrong)["field"]) == (400, "installation_id")
    mismatch = cast.Api(mine["token"]).post("/api/plugins/report", {"type": "x", "plugin_name": "analytics"})
    assert (mismatch.status_code, body_of(mismatch)["code"]) == (403, "PLUGIN_MISMATCH")
    by_key = key.post("/api/plugins/report", {"type": "x", "plugin_name": "api-logger", "fingerprint": "machine-one"})
    assert body_of(by_key)["installation_id"] == mine["installation_id"]


@pytest.mark.parametrize("credential", ["", "km_live_" + "0" * 36, "a.b.c"])
def test_a_report_needs_a_good_credential(acme, signing, credential):
    response = cast.Api(credential).post("/api/plugins/report", {"type": "x", "plugin_name": "api-logger"})
    assert (response.status_code, body_of(response)["success"]) == (401, False)


def test_a_report_reads_its_body_strictly(key):
    for body in ({}, {"type": "a b", "plugin_name": "api-logger"}, {"type": "x", "plugin_name": 3}):
        assert key.post("/api/plugins/report", body).status_code == 400


def test_the_lockdown_stops_all_and_ends(admin, key):
    assert body_of(admin.get("/api/manage/lockdown"))["is_on"] is False
    started = admin.put("/api/manage/lockdown", {"reason": "breach"})
    assert (started.status_code, body_of(started)["is_on"]) == (200, True)
    assert verdict(key) == "LOCKDOWN"
    assert body_of(admin.put("/api/manage/lockdown", {"reason": "again"}))["reason"] == "breach"
    assert admin.delete("/api/manage/lockdown", If_Match='"other"').status_code == 412
    assert admin.delete("/api/manage/lockdown").status_code == 204
    assert verdict(key) == "VALID"
    actions = AuditEvent.objects.filter(subject_kind="lockdown").order_by("id").values_list("action", flat=True)
    assert list(actions) == ["lockdown.started", "lockdown.ended"]


def test_installations_are_found_released_and_quarantined(admin, key):
    first = body_of(authenticate(key))
    authenticate(key, installation={"fingerprint": "machine-two", "hostname": "db-1"})
    path = "/api/manage/customers/acme_1/installations/"
    assert [each["hostname"] for each in body_of(admin.get(f"{path}?search=WEB"))["results"]] == ["web-1"]
    assert len(body_of(admin.get(f"{path}?plugin=api-logger&mode=live&is_released=false"))["results"]) == 2
    released = admin.post(f"{path}{first['installation_id']}/release")
    assert body_of(released)["released_reason"] == "operator"
    assert validated(first["token"]) == "TOKEN_REVOKED"
    assert Generation.objects.get(kind="installation").value == 1
    assert body_of(admin.post(f"{path}{first['installation_id']}/release")) == body_of(released)
    put = admin.post(f"{path}{first['installation_id']}/quarantine", {"reason": "odd"})
    assert (put.status_code, body_of(put)["customer_id"]) == (201, "acme_1")
    assert verdict(key) == "INSTALLATION_QUARANTINED"
    assert admin.get(f"{path}{first['installation_id']}").status_code == 200
    assert Installation.objects.count() == 2


def test_signing_keys_are_listed_without_their_private_halves(admin, signing):
    shown = body_of(admin.get("/api/manage/signing-keys/?state=active"))["results"]
    assert {each["purpose"] for each in shown} == {"token", "lease"}
    assert "private" not in json.dumps(shown)


def test_rotation_says_503_when_no_sign_worker_answers(admin, signing, monkeypatch):
    monkeypatch.setattr("licensing.api.manage.security.SIGN_TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr("licensing.tasks.rotate_signing_key.apply_async", lambda *_args, **_options: None)
    response = admin.post("/api/manage/signing-keys/rotate", {"purpose": "token"}, Idempotency_Key="r1")
    assert (response.status_code, body_of(response)["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert "Retry-After" in response
    assert AuditEvent.objects.filter(action="signing_key.rotation_asked").exists()


def test_rotation_gives_the_new_key_once(admin, signing, monkeypatch):
    from licensing.tasks import rotate_signing_key

    monkeypatch.setattr(rotate_signing_key, "apply_async", lambda args, **_options: rotate_signing_key(*args))
    response = admin.post("/api/manage/signing-keys/rotate", {"purpose": "token"}, Idempotency_Key="r1")
    assert (response.status_code, body_of(response)["state"]) == (201, "pending")
    again = admin.post("/api/manage/signing-keys/rotate", {"purpose": "token"}, Idempotency_Key="r1")
    assert body_of(again) == body_of(response)
    assert SigningKey.objects.filter(purpose="token").count() == 2


def test_only_superusers_rotate_and_make_operators(db, signing):
    _, clerk = cast.operator("clerk@vendor.example", is_superuser=False)
    for path, body in (
        ("signing-keys/rotate", {"purpose": "token"}),
        ("operators/", {"email": "x@vendor.example"}),
    ):
        response = clerk.post(f"/api/manage/{path}", body)
        assert (response.status_code, body_of(response)["code"]) == (403, "PERMISSION_MISSING")
    assert clerk.get("/api/manage/operators/").status_code == 200
