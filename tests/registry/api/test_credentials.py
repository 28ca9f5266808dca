"""Which credentials the registry takes: keys with the scope, plugin tokens, registry tokens with their caps."""

from datetime import timedelta
from typing import Any

import pytest

from accounts.services.api_keys import issue_api_key
from licensing.core.actor import system
from licensing.core.errors import InvalidValue
from licensing.models import Installation, Plugin
from licensing.services.key_lifecycle import bootstrap
from registry.models import RegistryToken
from registry.storage import ArtifactStore
from tests.registry import cast
from tests.registry.cast import ACTOR, PRIVATE, PUBLIC, Cast, Host, Member, body_of, json_of, now

pytestmark = pytest.mark.django_db
VERSION = "2.1.0"


def key_with(member: Member, *scopes: str) -> str:
    return issue_api_key(customer=member.customer, name="x", actor=ACTOR, scopes=scopes).key


@pytest.fixture
def world(store: ArtifactStore, loaded: Cast) -> Cast:
    cast.publish(store, PRIVATE, VERSION)
    cast.publish(store, PUBLIC, VERSION)
    return loaded


def test_a_key_needs_the_scope_of_what_it_does(world: Cast) -> None:
    reader = Host(key_with(world.globex, "registry:read"))
    assert reader.get("/api/registry/plugins").status_code == 200
    refused = reader.ask(PRIVATE, VERSION)
    assert (refused.status_code, json_of(refused)["code"]) == (403, "SCOPE_MISSING")
    loader = Host(key_with(world.globex, "registry:download"))
    assert loader.ask(PRIVATE, VERSION).status_code == 200
    assert loader.get("/api/registry/plugins").status_code == 403


def test_a_key_may_come_as_x_api_key(world: Cast) -> None:
    response = Host().get("/api/registry/plugins", X_API_Key=world.globex.key)
    assert response.status_code == 200
    both = Host(world.globex.key).get("/api/registry/plugins", X_API_Key=world.acme.key)
    assert both.status_code == 400


# -- Plugin tokens


def token_of(member: Member, key: str, plugin: str = PUBLIC) -> str:
    bootstrap(actor=system("tests"), now=now())
    body = {
        "plugin_name": plugin,
        "plugin_version": VERSION,
        "customer_id": member.id,
        "installation": {"fingerprint": "machine-0001"},
    }
    response = Host(key).send("POST", "/api/plugins/authenticate", body)
    assert response.status_code == 200, body_of(response)
    token: str = json_of(response)["token"]
    return token


def test_a_plugin_token_is_enough_for_who_has_a_registry(world: Cast) -> None:
    host = Host(token_of(world.globex, world.globex.key))
    assert host.get("/api/registry/plugins").status_code == 200
    assert body_of(host.fetch(host.url(PRIVATE, VERSION))) == cast.content_of(PRIVATE, VERSION)


def test_a_plugin_token_without_the_feature_is_not(world: Cast) -> None:
    response = Host(token_of(world.acme, world.acme.key)).get("/api/registry/plugins")
    assert (response.status_code, json_of(response)["code"]) == (403, "FEATURE_MISSING")


def test_a_plugin_token_reaches_no_further_than_its_key(world: Cast) -> None:
    """Whoever may download a build can open its secret: a key that may not must not by way of its tokens."""
    host = Host(token_of(world.globex, key_with(world.globex, "plugins:authenticate")))
    response = host.ask(PRIVATE, VERSION)
    assert (response.status_code, json_of(response)["code"]) == (403, "SCOPE_MISSING")


@pytest.mark.parametrize("way", ["installation released", "key revoked", "installation quarantined", "plugin blocked"])
def test_a_url_given_to_a_plugin_token_dies_with_it(world: Cast, way: str) -> None:
    from accounts.services.api_keys import revoke_api_key
    from licensing.models import Quarantine
    from licensing.services.quarantines import quarantine

    token = token_of(world.globex, world.globex.key)
    host = Host(token)
    url = host.url(PRIVATE, VERSION)
    assert body_of(host.fetch(url)) == cast.content_of(PRIVATE, VERSION)
    match way:
        case "installation released":
            assert host.send("POST", "/api/plugins/deactivate").status_code == 200
        case "key revoked":
            revoke_api_key(api_key=world.globex.api_key, actor=ACTOR, now=now())
        case "installation quarantined":
            quarantine(
                plugin=Plugin.objects.get(pk=PUBLIC),
                scope=Quarantine.Scope.INSTALLATION,
                target=Installation.objects.get().id,
                reason="",
                actor=ACTOR,
                now=now(),
            )
        case _:
            Plugin.objects.filter(pk=PUBLIC).update(blocked_versions=[VERSION])
    response = host.fetch(url)
    assert (response.status_code, json_of(response)["code"]) == (403, "DOWNLOAD_URL_REVOKED")


def test_a_url_does_not_outlive_its_token(world: Cast, settings: Any) -> None:
    from datetime import datetime

    settings.TOKEN_TTL_SECONDS = 60
    host = Host(token_of(world.globex, world.globex.key))
    ends = datetime.fromisoformat(json_of(host.ask(PRIVATE, VERSION))["expires_at"])
    assert ends <= now() + timedelta(seconds=60)


def test_a_plugin_token_proves_its_build_where_that_is_required(world: Cast) -> None:
    token = token_of(world.globex, world.globex.key)
    type(world.globex.customer).objects.filter(pk=world.globex.id).update(proof_required=True)
    response = Host(token).get("/api/registry/plugins")
    assert (response.status_code, json_of(response)["code"]) == (403, "PROOF_REQUIRED")


# -- Registry tokens


def test_a_registry_token_reads_what_its_customer_may_see(world: Cast) -> None:
    host = Host(world.globex.pat)
    assert [entry["name"] for entry in json_of(host.get("/api/registry/plugins"))["plugins"]] == [PUBLIC, PRIVATE]
    assert body_of(host.fetch(host.url(PRIVATE, VERSION))) == cast.content_of(PRIVATE, VERSION)
    assert RegistryToken.objects.get(customer=world.globex.customer).last_used_at is not None


def test_a_registry_token_is_bound_to_its_plugins(world: Cast) -> None:
    host = Host(cast.token_of(world.globex, plugins=[PRIVATE]).token)
    assert [entry["name"] for entry in json_of(host.get("/api/registry/plugins"))["plugins"]] == [PRIVATE]
    assert host.get(f"/api/registry/plugins/{PUBLIC}").status_code == 404
    assert host.ask(PUBLIC, VERSION).status_code == 404
    assert host.ask(PRIVATE, VERSION).status_code == 200


def test_a_registry_token_does_nothing_else(world: Cast) -> None:
    host = Host(world.globex.pat)
    asked = {"plugin_name": PUBLIC, "plugin_version": VERSION, "customer_id": world.globex.id}
    assert host.send("POST", "/api/plugins/authenticate", asked).status_code == 401
    assert host.get("/api/account/customer").status_code == 401
    assert host.get("/api/manage/customers/").status_code == 401


def test_downloads_are_capped(world: Cast) -> None:
    host = Host(cast.token_of(world.globex, max_downloads=2).token)
    assert [host.ask(PRIVATE, VERSION).status_code for _ in range(3)] == [200, 200, 403]
    assert json_of(host.ask(PRIVATE, VERSION))["code"] == "DOWNLOAD_CAP_REACHED"


def test_bytes_are_capped_and_what_was_not_sent_is_given_back(world: Cast) -> None:
    size = len(cast.content_of(PRIVATE, VERSION))
    issued = cast.token_of(world.globex, max_bytes=size + 60_000)
    host = Host(issued.token)
    url = host.url(PRIVATE, VERSION)
    cast.cut(host.fetch(url))
    issued.row.refresh_from_db()
    assert issued.row.bytes_used == 65536
    refused = host.fetch(url)
    assert (refused.status_code, json_of(refused)["code"]) == (403, "DOWNLOAD_CAP_REACHED")
    assert len(body_of(host.fetch(url, Range="bytes=65536-"))) == size - 65536
    assert host.fetch(url, Range="bytes=0-99999").status_code == 403


@pytest.mark.parametrize("way", ["revoked", "expired", "unknown", "feature lost"])
def test_a_token_that_is_no_good_is_refused(world: Cast, way: str) -> None:
    row = RegistryToken.objects.get(customer=world.globex.customer)
    host = Host(world.globex.pat)
    assert host.get("/api/registry/plugins").status_code == 200
    match way:
        case "revoked":
            RegistryToken.objects.filter(pk=row.pk).update(revoked_at=now())
        case "expired":
            RegistryToken.objects.filter(pk=row.pk).update(expires_at=now())
        case "unknown":
            row.delete()
        case _:
            from licensing.models import TierGrant

            TierGrant.objects.all().delete()
    expected = {
        "revoked": (401, "TOKEN_REVOKED"),
        "expired": (401, "TOKEN_EXPIRED"),
        "unknown": (401, "TOKEN_INVALID"),
        "feature lost": (403, "FEATURE_MISSING"),
    }
    response = host.get("/api/registry/plugins")
    assert (response.status_code, json_of(response)["code"]) == expected[way]


@pytest.mark.parametrize(
    "options",
    [
        {"name": " "},
        {"expires_at": now() - timedelta(seconds=1)},
        {"expires_at": now() + timedelta(days=400)},
        {"plugins": [f"p{number}" for number in range(201)]},
    ],
)
def test_what_cannot_be_a_token_is_refused(loaded: Cast, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        cast.token_of(loaded.globex, **options)


def test_the_token_itself_is_not_kept(world: Cast) -> None:
    row = RegistryToken.objects.get(customer=world.globex.customer)
    stored = b"".join(bytes(part) for part in (row.digest, row.sealed_fingerprint)) + row.last4.encode()
    assert world.globex.pat.encode() not in stored
    assert row.last4 == world.globex.pat[-4:]
