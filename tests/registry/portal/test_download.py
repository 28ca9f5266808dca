"""A person downloads: real bytes, commands that really verify them, and URLs that die with the right to them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from accounts.models import Customer, Membership, Role, User
from licensing.core.actor import system
from licensing.core.models import AuditEvent
from licensing.models import Subscription
from licensing.services.key_lifecycle import bootstrap, load_authority
from licensing.services.quarantines import quarantine
from registry.models import Artifact, CustomerPolicy
from registry.portal import verifying
from registry.services.signing import sign_due_artifacts
from registry.storage import ArtifactStore
from tests.portal_cast import BACKEND
from tests.registry import cast
from tests.registry.cast import ACTOR, PUBLIC, TARGET, Cast, body_of, now

pytestmark = pytest.mark.django_db
DOWNLOAD = f"/portal/cust_123/plugins/{PUBLIC}/releases/2.1.0/download"


@dataclass
class Shop:
    """A published release, a developer of `acme`, and their browser."""

    loaded: Cast
    artifact: Artifact
    developer: User
    client: Client

    def ask(self, target: str = TARGET) -> Any:
        return self.client.post(DOWNLOAD, {"target": target})

    def url(self) -> str:
        """The path of a download URL that was just handed out."""
        return str(self.ask().context["handed"].url.removeprefix("http://testserver"))

    def fetch(self, path: str) -> Any:
        return Client(raise_request_exception=False).get(path)


@pytest.fixture
def shop(folder_store: ArtifactStore, loaded: Cast) -> Shop:
    artifact = cast.publish(folder_store, PUBLIC, "2.1.0")
    developer = User.objects.create_user("dev@acme.example")
    Membership.objects.create(user=developer, customer=loaded.acme.customer, role=Role.DEVELOPER)
    client = Client(raise_request_exception=False)
    client.force_login(developer, backend=BACKEND)
    return Shop(loaded, artifact, developer, client)


def test_a_press_starts_the_download_and_the_log_has_who(shop: Shop) -> None:
    page = shop.ask()
    assert page.status_code == 200
    assert page.headers["Cache-Control"] == "no-store"
    (url,) = set(re.findall(r"http://testserver/files/[\w-]+", page.content.decode()))
    assert f'<meta http-equiv="refresh" content="0; url={url}">' in page.content.decode()
    assert shop.artifact.sha256.encode() in page.content
    file = shop.fetch(url.removeprefix("http://testserver"))
    assert (file.status_code, body_of(file)) == (200, cast.content_of(PUBLIC, "2.1.0"))
    assert "attachment" in file.headers["Content-Disposition"]
    actors = AuditEvent.objects.filter(subject_id=shop.artifact.pk).values_list("action", "actor_kind", "actor_id")
    person = ("person", str(shop.developer.pk))
    assert {("artifact.url_issued", *person), ("artifact.download_started", *person)} <= set(actors)


def _leave(shop: Shop) -> None:
    Membership.objects.filter(user=shop.developer).delete()


def _become_viewer(shop: Shop) -> None:
    Membership.objects.filter(user=shop.developer).update(role=Role.VIEWER)


def _be_shut_out(shop: Shop) -> None:
    User.objects.filter(pk=shop.developer.pk).update(is_active=False)


def _be_elsewhere(shop: Shop) -> None:
    Customer.objects.filter(pk="cust_123").update(portal_cidrs=["203.0.113.0/24"])


def _suspend(shop: Shop) -> None:
    Customer.objects.filter(pk="cust_123").update(suspended_at=now())


def _pause(shop: Shop) -> None:
    Subscription.objects.filter(customer="cust_123").update(status="paused")


def _quarantine(shop: Shop) -> None:
    quarantine(
        plugin=shop.artifact.release.plugin, scope="version", target="2.1.0", reason="bad", actor=ACTOR, now=now()
    )


def _block(shop: Shop) -> None:
    CustomerPolicy.objects.create(customer_id="cust_123", blocked_plugins=[PUBLIC], updated_at=now())


@pytest.mark.parametrize(
    "change", [_leave, _become_viewer, _be_shut_out, _be_elsewhere, _suspend, _pause, _quarantine, _block]
)
def test_a_url_dies_with_what_it_was_given_for(shop: Shop, change: Callable[[Shop], None]) -> None:
    url = shop.url()
    change(shop)
    refused = shop.fetch(url)
    assert refused.status_code == 403
    assert AuditEvent.objects.filter(action="download.denied", actor_kind="person").exists()
    assert not AuditEvent.objects.filter(action="artifact.download_started").exists()


@pytest.mark.parametrize("change", [_suspend, _pause, _block])
def test_a_refusal_is_said_in_words_and_recorded(shop: Shop, change: Callable[[Shop], None]) -> None:
    change(shop)
    page = shop.ask()
    assert page.status_code == 200
    assert "handed" not in page.context
    assert page.context["form"].non_field_errors()
    event = AuditEvent.objects.get(action="download.denied")
    assert (event.actor_kind, event.actor_id, event.customer_id) == ("person", str(shop.developer.pk), "cust_123")


def test_a_target_without_a_file_is_no_choice(shop: Shop) -> None:
    assert "target" in shop.ask("windows/amd64").context["form"].errors
    assert not AuditEvent.objects.filter(action="artifact.url_issued").exists()


@pytest.mark.parametrize("role", [Role.VIEWER, Role.BILLING])
def test_a_role_that_may_not_gets_no_url(shop: Shop, role: Role) -> None:
    Membership.objects.filter(user=shop.developer).update(role=role)
    assert shop.ask().status_code == 403
    assert not AuditEvent.objects.filter(action="artifact.url_issued").exists()


def test_the_commands_that_are_shown_verify_the_file_and_nothing_else(
    folder_store: ArtifactStore, loaded: Cast, tmp_path: Path
) -> None:
    bootstrap(actor=system("tests"), now=now())
    release = cast.draft(folder_store, PUBLIC, "2.1.0")
    artifact = cast.add(folder_store, release, b"a plugin" * 1000, signature=None, certificate=None)
    sign_due_artifacts(store=folder_store, actor=ACTOR, now=now())
    artifact.refresh_from_db()
    server = tmp_path / "server" / ".well-known"
    server.mkdir(parents=True)
    (server / "keywright-authority").write_bytes(load_authority().certificate_der)
    place = tmp_path / "downloads"
    place.mkdir()
    commands = verifying.signature_commands(artifact, public_url=f"file://{tmp_path}/server")

    def run(text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["bash", "-e", "-c", text], cwd=place, capture_output=True, text=True, check=False)

    (place / artifact.filename).write_bytes(b"a plugin" * 1000)
    digest, signature = run(verifying.digest_command(artifact)), run(commands)
    assert (digest.returncode, digest.stdout) == (0, f"{artifact.filename}: OK\n")
    assert signature.returncode == 0, signature.stderr
    assert signature.stdout == "Verified OK\nsigner.pem: OK\n"
    (place / artifact.filename).write_bytes(b"another!" * 1000)
    assert run(verifying.digest_command(artifact)).returncode != 0
    assert run(commands).returncode != 0


def test_an_unsigned_file_has_no_commands_for_a_signature(shop: Shop) -> None:
    shop.artifact.signature = shop.artifact.certificate = None
    assert verifying.signature_commands(shop.artifact, public_url="https://x") == ""
