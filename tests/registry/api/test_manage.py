"""The vendor's side: releases from draft to channel, uploads, customers' tokens and policies; who may, and who not."""

import base64
import hashlib
import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from accounts.services.operators import issue_operator_key
from licensing.core.actor import system
from licensing.core.clock import rfc3339
from licensing.core.models import AuditEvent
from licensing.crypto.signatures import verify_binary
from licensing.services.key_lifecycle import bootstrap
from registry.models import Artifact, RegistryToken, Release
from registry.services.signing import sign_due_artifacts
from registry.storage import ArtifactStore
from tests.registry import cast
from tests.registry.cast import ACTOR, PUBLIC, Cast, Host, body_of, json_of, now

pytestmark = pytest.mark.django_db
RELEASES = f"/api/manage/plugins/{PUBLIC}/releases"
CHANNEL = f"/api/manage/plugins/{PUBLIC}/channels/stable"
CONTENT = b"a prebuilt program " * 5000


@pytest.fixture
def admin(loaded: Cast) -> Host:
    user = User.objects.create_user("ada@vendor.example", is_staff=True, is_superuser=True)
    return Host(issue_operator_key(user=user, name="tests", actor=ACTOR).key)


def upload(host: Host, version: str, target: str = "linux-amd64", content: bytes = CONTENT, **headers: str) -> Any:
    sent = {"Authorization": f"Bearer {host.credential}"} | {k.replace("_", "-"): v for k, v in headers.items()}
    content_type = sent.pop("Content-Type", "application/octet-stream")
    return host.client.generic(
        "PUT", f"{RELEASES}/{version}/files/{target}", content, content_type=content_type, headers=sent
    )


def test_a_release_from_draft_to_a_customers_disk(store: ArtifactStore, loaded: Cast, admin: Host) -> None:
    bootstrap(actor=system("tests"), now=now())
    draft = admin.send("POST", f"{RELEASES}/", {"version": "2.1.0", "notes": "*new*"})
    assert (draft.status_code, draft.headers["Location"]) == (201, f"{RELEASES}/2.1.0")
    digest = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
    sent = upload(admin, "2.1.0", Repr_Digest=f"sha-256=:{digest}:")
    assert (sent.status_code, json_of(sent)["sha256"]) == (201, hashlib.sha256(CONTENT).hexdigest())
    early = admin.send("POST", f"{RELEASES}/2.1.0/publish")
    assert (early.status_code, json_of(early)["code"]) == (409, "RELEASE_NOT_READY")
    assert sign_due_artifacts(store=store, actor=ACTOR, now=now()) == 1
    published = admin.send("POST", f"{RELEASES}/2.1.0/publish", {"targets": ["linux/amd64"]})
    assert (published.status_code, json_of(published)["state"]) == (200, "published")
    host = Host(loaded.acme.key)
    answer = json_of(host.ask(PUBLIC, "2.1.0"))
    assert body_of(host.fetch(answer["url"].removeprefix("http://testserver"))) == CONTENT
    _assert_signed(answer)


def _assert_signed(answer: dict[str, Any]) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding

    from licensing.crypto.authority import Purpose, verify_certificate
    from licensing.services.key_lifecycle import load_authority

    der = x509.load_pem_x509_certificate(answer["certificate"].encode()).public_bytes(Encoding.DER)
    certificate = verify_certificate(der, authority=load_authority().public_key, purpose=Purpose.BINARY, at=now())
    public_key = certificate.public_key()
    assert isinstance(public_key, rsa.RSAPublicKey)
    verify_binary(public_key, hashlib.sha256(CONTENT).digest(), base64.b64decode(answer["signature"]))


def test_the_signer_signs_no_digest_that_it_was_given(
    store: ArtifactStore, loaded: Cast, spoil: Callable[[str], None]
) -> None:
    bootstrap(actor=system("tests"), now=now())
    release = cast.draft(store, PUBLIC, "2.1.0")
    artifact = cast.add(store, release, CONTENT, signature=None, certificate=None)
    spoil(artifact.sha256)
    assert sign_due_artifacts(store=store, actor=ACTOR, now=now()) == 0
    assert not Artifact.objects.get().is_signed


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content_Type": "application/json"}, 415),
        ({"Repr_Digest": "sha-256=:" + base64.b64encode(bytes(32)).decode() + ":"}, 400),
        ({"Repr_Digest": "md5=:x:"}, 400),
        ({"Transfer_Encoding": "chunked"}, 411),
    ],
)
def test_an_upload_that_is_not_what_it_says_leaves_nothing(
    store: ArtifactStore, loaded: Cast, admin: Host, headers: dict[str, str], status: int
) -> None:
    admin.send("POST", f"{RELEASES}/", {"version": "2.1.0"})
    assert upload(admin, "2.1.0", **headers).status_code == status
    assert not Artifact.objects.exists()


def test_a_body_that_breaks_off_leaves_nothing(store: ArtifactStore, loaded: Cast, admin: Host) -> None:
    admin.send("POST", f"{RELEASES}/", {"version": "2.1.0"})
    response = Client().generic(
        "PUT",
        f"{RELEASES}/2.1.0/files/any",
        CONTENT,
        content_type="application/octet-stream",
        headers={"Authorization": f"Bearer {admin.credential}"},
        **{"CONTENT_LENGTH": str(len(CONTENT) + 1), "wsgi.input": io.BytesIO(CONTENT)},
    )
    assert response.status_code == 400
    assert list(store.all_files()) == []


def test_an_upload_over_the_limit_is_refused(store: ArtifactStore, loaded: Cast, admin: Host, settings: Any) -> None:
    settings.ARTIFACT_MAX_BYTES = len(CONTENT) - 1
    admin.send("POST", f"{RELEASES}/", {"version": "2.1.0"})
    assert upload(admin, "2.1.0").status_code == 413
    assert list(store.all_files()) == []


def test_the_same_version_with_other_bytes_is_409(store: ArtifactStore, loaded: Cast, admin: Host) -> None:
    admin.send("POST", f"{RELEASES}/", {"version": "2.1.0"})
    assert [upload(admin, "2.1.0").status_code for _ in range(2)] == [201, 201]
    other = upload(admin, "2.1.0", content=b"other")
    assert (other.status_code, json_of(other)["code"]) == (409, "VERSION_EXISTS")


@pytest.mark.parametrize("target", ["linux", "linux-", "LINUX-amd64", "..", "any-any-any", "linux%2famd64"])
def test_targets_are_names(store: ArtifactStore, loaded: Cast, admin: Host, target: str) -> None:
    admin.send("POST", f"{RELEASES}/", {"version": "2.1.0"})
    assert upload(admin, "2.1.0", target).status_code == 404


def test_yank_roll_back_and_notes(store: ArtifactStore, loaded: Cast, admin: Host) -> None:
    for version in ("1.0.0", "2.0.0"):
        cast.publish(store, PUBLIC, version)
    assert json_of(admin.send("PUT", CHANNEL, {"version": "1.0.0"}))["previous_version"] == "2.0.0"
    assert [entry["version"] for entry in json_of(admin.get(f"/api/manage/plugins/{PUBLIC}/channels/"))["results"]] == [
        "1.0.0"
    ]
    assert json_of(admin.send("POST", f"{RELEASES}/2.0.0/yank", {"reason": "Crash"}))["yanked_reason"] == "Crash"
    assert admin.send("PUT", CHANNEL, {"version": "2.0.0"}).status_code == 409
    assert json_of(admin.send("POST", f"{RELEASES}/2.0.0/unyank"))["yanked_at"] is None
    shown = admin.get(f"{RELEASES}/2.0.0")
    changed = admin.send("PATCH", f"{RELEASES}/2.0.0", {"notes": "Fixed"}, If_Match=shown.headers["ETag"])
    assert (changed.status_code, json_of(changed)["notes_html"]) == (200, "<p>Fixed</p>\n")
    stale = admin.send("PATCH", f"{RELEASES}/2.0.0", {"notes": "Late"}, If_Match=shown.headers["ETag"])
    assert stale.status_code == 412
    actions = AuditEvent.objects.filter(actor_kind="operator").order_by("id").values_list("action", flat=True)
    assert list(actions) == [
        "release.channel_moved",
        "release.yanked",
        "release.unyanked",
        "release.notes_changed",
    ]


def test_releases_are_listed_in_pages(store: ArtifactStore, loaded: Cast, admin: Host) -> None:
    for minor in range(3):
        cast.publish(store, PUBLIC, f"1.{minor}.0")
    cast.draft(store, PUBLIC, "2.0.0")
    first = json_of(admin.get(f"{RELEASES}/?limit=3"))
    rest = json_of(admin.get(first["next"].removeprefix("http://testserver")))
    versions = [entry["version"] for entry in (*first["results"], *rest["results"])]
    assert versions == ["2.0.0", "1.2.0", "1.1.0", "1.0.0"]
    drafts = json_of(admin.get(f"{RELEASES}/?state=draft"))["results"]
    assert [entry["version"] for entry in drafts] == ["2.0.0"]


def test_drafts_are_deleted_and_published_releases_not(store: ArtifactStore, loaded: Cast, admin: Host) -> None:
    cast.publish(store, PUBLIC, "1.0.0")
    admin.send("POST", f"{RELEASES}/", {"version": "2.0.0"})
    assert admin.send("DELETE", f"{RELEASES}/2.0.0").status_code == 204
    assert admin.send("DELETE", f"{RELEASES}/1.0.0").status_code == 409
    assert list(Release.objects.values_list("version", flat=True)) == ["1.0.0"]


MANAGED = [
    ("GET", f"{RELEASES}/"),
    ("POST", f"{RELEASES}/"),
    ("GET", f"{RELEASES}/1.0.0"),
    ("PATCH", f"{RELEASES}/1.0.0"),
    ("DELETE", f"{RELEASES}/1.0.0"),
    ("POST", f"{RELEASES}/1.0.0/publish"),
    ("POST", f"{RELEASES}/1.0.0/yank"),
    ("POST", f"{RELEASES}/1.0.0/unyank"),
    ("PUT", f"{RELEASES}/1.0.0/files/any"),
    ("GET", f"/api/manage/plugins/{PUBLIC}/channels/"),
    ("PUT", CHANNEL),
    ("GET", "/api/manage/customers/cust_123/registry-tokens/"),
    ("POST", "/api/manage/customers/cust_123/registry-tokens/"),
    ("PATCH", "/api/manage/customers/cust_123/policy"),
]


@pytest.mark.parametrize(("method", "path"), MANAGED)
def test_only_operators_manage(loaded: Cast, method: str, path: str) -> None:
    for credential in ("", loaded.acme.key, loaded.globex.pat):
        assert Host(credential).send(method, path, {}).status_code == 401


@pytest.mark.parametrize(
    "path", ["/api/manage/plugins/no-such/releases/", f"{RELEASES}/9.9.9", f"/api/manage/plugins/{PUBLIC}/channels/no"]
)
def test_what_is_not_there_is_404(store: ArtifactStore, loaded: Cast, admin: Host, path: str) -> None:
    assert admin.get(path).status_code == 404


# -- Registry tokens and policies


def test_a_token_is_made_shown_once_and_revoked(loaded: Cast, admin: Host) -> None:
    path = "/api/manage/customers/enterprise_456/registry-tokens"
    asked = {"name": "CI", "expires_at": rfc3339(now() + timedelta(days=7)), "max_downloads": 5}
    made = admin.send("POST", f"{path}/", asked, Idempotency_Key="one")
    token = json_of(made)["token"]
    assert (made.status_code, token.startswith("pat_")) == (201, True)
    again = admin.send("POST", f"{path}/", asked, Idempotency_Key="one")
    assert json_of(again)["token"] == token
    host = Host(token)
    assert host.get("/api/registry/plugins").status_code == 200
    location = made.headers["Location"]
    assert "token" not in json_of(admin.get(location))
    assert json_of(admin.send("POST", f"{location}/revoke", {"reason": "Leaked"}))["revoked_reason"] == "Leaked"
    assert host.get("/api/registry/plugins").status_code == 401
    other = location.replace("enterprise_456", "cust_123")
    assert admin.get(other).status_code == 404


def test_customers_read_their_tokens_and_policy_with_a_key(loaded: Cast) -> None:
    own = Host(loaded.globex.key)
    (listed,) = json_of(own.get("/api/account/registry-tokens/"))["results"]
    row = RegistryToken.objects.get(customer=loaded.globex.customer)
    assert (listed["id"], listed["last4"]) == (row.id, row.last4)
    assert json_of(own.get("/api/account/policy"))["customer_id"] == "enterprise_456"
    theirs = RegistryToken.objects.get(customer=loaded.initech.customer)
    assert own.get(f"/api/account/registry-tokens/{theirs.id}").status_code == 404
    assert own.send("PATCH", "/api/account/policy", {"auto_update": True}).status_code == 403


def test_a_policy_is_changed_member_by_member(loaded: Cast, admin: Host) -> None:
    path = "/api/manage/customers/cust_123/policy"
    assert json_of(admin.send("PATCH", path, {"auto_update": True}))["version"] == 1
    changed = json_of(admin.send("PATCH", path, {"version_pins": {PUBLIC: "2.1"}}))
    assert (changed["version"], changed["auto_update"], changed["version_pins"]) == (2, True, {PUBLIC: "2.1"})
    for wrong in ({"plugin_verification": "lax"}, {"version_pins": {PUBLIC: "x"}}, {"unknown": 1}):
        assert admin.send("PATCH", path, wrong).status_code == 400
