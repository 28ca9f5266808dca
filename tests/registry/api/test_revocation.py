"""Whatever a download URL was given for, taking it away kills the URL; everything else is still there."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings

from accounts.services.api_keys import revoke_api_key
from accounts.services.customers import suspend_customer
from licensing.core.actor import system
from licensing.core.models import AuditEvent, OutboxEvent
from licensing.models import Plugin, PluginAccess, Quarantine, Subscription
from licensing.services.lockdown import start_lockdown
from licensing.services.quarantines import quarantine
from registry.models import Artifact, RegistryToken
from registry.services.policies import set_policy
from registry.services.registry_tokens import revoke_registry_token
from registry.storage import ArtifactStore
from tests.registry import cast
from tests.registry.cast import ACTOR, PRIVATE, Cast, Host, body_of, content_of, json_of

pytestmark = pytest.mark.django_db
VERSION = "2.1.0"
Change = Callable[[Cast, Artifact], Any]


def now() -> datetime:
    return datetime.now(UTC)


def put_in_quarantine(scope: str, target: Callable[[Cast, Artifact], str]) -> Change:
    def change(loaded: Cast, artifact: Artifact) -> None:
        plugin = Plugin.objects.get(pk=PRIVATE)
        quarantine(plugin=plugin, scope=scope, target=target(loaded, artifact), reason="", actor=ACTOR, now=now())

    return change


COMMON: dict[str, Change] = {
    "customer suspended": lambda loaded, _: suspend_customer(
        customer=loaded.globex.customer, reason="", actor=ACTOR, now=now()
    ),
    "customer quarantined": put_in_quarantine(Quarantine.Scope.CUSTOMER, lambda loaded, _: loaded.globex.id),
    "plugin quarantined": put_in_quarantine(Quarantine.Scope.PLUGIN, lambda *_: ""),
    "version quarantined": put_in_quarantine(Quarantine.Scope.VERSION, lambda *_: VERSION),
    "artifact quarantined": put_in_quarantine(Quarantine.Scope.ARTIFACT, lambda _, artifact: artifact.sha256),
    "subscription expired": lambda loaded, _: Subscription.objects.filter(pk=loaded.globex.id).update(status="expired"),
    "tier lowered": lambda loaded, _: Subscription.objects.filter(pk=loaded.globex.id).update(tier="Pro"),
    "plugin taken from the allow-list": lambda loaded, _: PluginAccess.objects.filter(
        customer=loaded.globex.customer
    ).delete(),
    "version blocked": lambda *_: Plugin.objects.filter(pk=PRIVATE).update(blocked_versions=[VERSION]),
    "minimum version raised": lambda *_: Plugin.objects.filter(pk=PRIVATE).update(minimum_version="3.0.0"),
    "locked down": lambda *_: start_lockdown(reason="", actor=ACTOR, now=now()),
    "artifact superseded": lambda _, artifact: Artifact.objects.filter(pk=artifact.pk).update(superseded_at=now()),
    "blocked by policy": lambda loaded, _: set_policy(
        customer=loaded.globex.customer, changes={"blocked_plugins": [PRIVATE]}, actor=ACTOR, now=now()
    ),
}
OF_KEYS: dict[str, Change] = {
    "key revoked": lambda loaded, _: revoke_api_key(api_key=loaded.globex.api_key, actor=ACTOR, now=now()),
    "key removed": lambda loaded, _: loaded.globex.api_key.delete(),
    "key expired": lambda loaded, _: _change_key(loaded, expires_at=now() - timedelta(seconds=1)),
    "scope taken": lambda loaded, _: _change_key(loaded, scopes=["registry:read"]),
    "address not allowed": lambda loaded, _: _change_key(loaded, cidrs=["203.0.113.0/24"]),
}
OF_TOKENS: dict[str, Change] = {
    "token revoked": lambda loaded, _: revoke_registry_token(
        row=RegistryToken.objects.get(customer=loaded.globex.customer), actor=ACTOR, now=now()
    ),
    "token removed": lambda *_: RegistryToken.objects.all().delete(),
    "token bound to other plugins": lambda *_: RegistryToken.objects.update(plugins=["api-logger"]),
    "token expired": lambda *_: RegistryToken.objects.update(expires_at=now()),
    "token's bytes used up": lambda *_: RegistryToken.objects.update(max_bytes=10),
}


def _change_key(loaded: Cast, **values: Any) -> None:
    type(loaded.globex.api_key).objects.filter(pk=loaded.globex.api_key.pk).update(**values)


@pytest.mark.parametrize("name", [*COMMON, *OF_KEYS])
def test_a_url_given_to_a_key_dies(store: ArtifactStore, loaded: Cast, name: str) -> None:
    _assert_dies(store, loaded, loaded.globex.key, (COMMON | OF_KEYS)[name])


@pytest.mark.parametrize("name", [*COMMON, *OF_TOKENS])
def test_a_url_given_to_a_registry_token_dies(store: ArtifactStore, loaded: Cast, name: str) -> None:
    _assert_dies(store, loaded, loaded.globex.pat, (COMMON | OF_TOKENS)[name])


def _assert_dies(store: ArtifactStore, loaded: Cast, credential: str, change: Change) -> None:
    artifact = cast.publish(store, PRIVATE, VERSION)
    host = Host(credential)
    url = host.url(PRIVATE, VERSION)
    # The other half of the test: without the change the very same URL is good.
    assert body_of(host.fetch(url, Range="bytes=0-9")) == content_of(PRIVATE, VERSION)[:10]
    change(loaded, artifact)
    response = host.fetch(url, Range="bytes=0-99")
    assert response.status_code == 403
    assert json_of(response)["code"] in ("DOWNLOAD_URL_REVOKED", "ALLOWLIST_VIOLATION", "DOWNLOAD_CAP_REACHED")
    denial = AuditEvent.objects.get(action="download.denied")
    assert denial.customer_id == loaded.globex.id
    assert OutboxEvent.objects.filter(name="plugin.denied", customer_id=loaded.globex.id).exists()


def test_the_bearer_of_a_url_is_not_told_why(store: ArtifactStore, loaded: Cast) -> None:
    cast.publish(store, PRIVATE, VERSION)
    host = Host(loaded.globex.key)
    url, bodies = host.url(PRIVATE, VERSION), []
    for change in (OF_KEYS["key revoked"], COMMON["customer suspended"], COMMON["plugin quarantined"]):
        change(loaded, Artifact.objects.get())
        bodies.append({**json_of(host.fetch(url)), "request_id": ""})
    assert bodies[0] == bodies[1] == bodies[2]
    assert AuditEvent.objects.filter(action="download.denied").order_by("id").first().code == "API_KEY_REVOKED"


def test_a_quarantine_stops_listing_and_asking_and_lifting_it_brings_all_back(
    store: ArtifactStore, loaded: Cast
) -> None:
    from licensing.services.quarantines import lift_quarantine

    cast.publish(store, PRIVATE, VERSION)
    cast.publish(store, PRIVATE, "2.0.0")
    host = Host(loaded.globex.key)
    url = host.url(PRIVATE, VERSION)
    COMMON["version quarantined"](loaded, Artifact.objects.first())
    detail = json_of(host.get(f"/api/registry/plugins/{PRIVATE}"))
    assert [release["version"] for release in detail["releases"]] == ["2.0.0"]
    assert detail["latest_version"] == "2.0.0"
    assert host.get(f"/api/registry/plugins/{PRIVATE}/releases/{VERSION}").status_code == 404
    refused = host.ask(PRIVATE, VERSION)
    assert (refused.status_code, json_of(refused)["code"]) == (403, "PLUGIN_QUARANTINED")
    lift_quarantine(entry=Quarantine.objects.get(), actor=system("tests"), now=now())
    assert body_of(host.fetch(url)) == content_of(PRIVATE, VERSION)


def test_a_plugin_in_quarantine_is_not_listed(store: ArtifactStore, loaded: Cast) -> None:
    cast.publish(store, PRIVATE, VERSION)
    COMMON["plugin quarantined"](loaded, Artifact.objects.get())
    host = Host(loaded.globex.key)
    assert json_of(host.get("/api/registry/plugins"))["plugins"] == []
    assert host.get(f"/api/registry/plugins/{PRIVATE}").status_code == 404


def test_caching_is_off_here() -> None:
    """These tests are about decisions; that caches hear of changes within a second is tested over HTTP."""
    assert django_settings.SNAPSHOT_CACHE_ENTRIES == 0
