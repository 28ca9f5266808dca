"""Every code that a token can be refused with, at validate and at refresh, and which of two wins (DESIGN §5, §6)."""

from typing import Any

import pytest
from django.db import transaction

from accounts.models import ApiKey
from accounts.services.customers import remove_customer
from licensing.core.clock import from_epoch
from licensing.core.models import AuditEvent, OutboxEvent
from licensing.models import BuildCredential, Installation, Plugin
from licensing.services.installations import release_installation
from tests.licensing.api.driver import PluginApi, answer, code_of
from tests.licensing.api.token_conditions import (
    REFRESH_ONLY,
    STATUS_401,
    TOKEN_CONDITIONS,
    TokenScene,
    later_than,
)
from tests.licensing.cast import ACTOR, DAY, T0, Cast, quarantine, sign_out, subscribe
from tests.licensing.conftest import Clock

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("empty_valkey")]

# Refresh names no plugin: it takes the token's.
AT_REFRESH = [code for code in TOKEN_CONDITIONS if code != "PLUGIN_MISMATCH"]


@pytest.fixture
def scene(api: PluginApi, cast: Cast, clock: Clock) -> TokenScene:
    return TokenScene(api, cast, clock, cast.acme)


def test_the_scene_itself_is_good(scene: TokenScene) -> None:
    assert answer(scene.validate())["valid"] is True
    assert scene.refresh().status_code == 200


@pytest.mark.parametrize("code", TOKEN_CONDITIONS)
def test_validate_answers_every_verdict_with_200(scene: TokenScene, code: str) -> None:
    TOKEN_CONDITIONS[code](scene)
    counted = AuditEvent.objects.count(), OutboxEvent.objects.count()
    response = scene.validate()
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    body = answer(response)
    assert (body["valid"], body["code"]) == (False, code)
    assert body["detail"]
    if code in ("TOKEN_INVALID", "TOKEN_EXPIRED"):
        assert body.keys() == {"valid", "code", "detail"}
    else:
        assert body.keys() == {
            "valid",
            "code",
            "detail",
            "customer_id",
            "subscription_active",
            "features_active",
            "authorized_features",
            "next_refresh",
        }
        assert (body["features_active"], body["authorized_features"]) == (False, [])
        assert body["subscription_active"] is not code.startswith("SUBSCRIPTION_")
    assert (AuditEvent.objects.count(), OutboxEvent.objects.count()) == counted


@pytest.mark.parametrize("code", [*AT_REFRESH, *REFRESH_ONLY])
def test_refresh_refuses_with_the_code(scene: TokenScene, code: str) -> None:
    (TOKEN_CONDITIONS | REFRESH_ONLY)[code](scene)
    AuditEvent.objects.all().delete()
    response = scene.refresh()
    assert response.status_code == (401 if code in STATUS_401 else 403)
    assert response["Content-Type"] == "application/problem+json"
    assert (answer(response)["code"], answer(response)["success"]) == (code, False)
    told = [(row.action, row.code, row.actor_kind, row.actor_id) for row in AuditEvent.objects.all()]
    if code in ("TOKEN_INVALID", "TOKEN_EXPIRED"):
        assert told == []
    else:
        assert told == [("plugin.denied", code, "plugin_token", scene.installation_id)]


@pytest.mark.parametrize("earlier", [code for code in TOKEN_CONDITIONS if later_than(code)])
def test_the_earlier_code_wins(api: PluginApi, cast: Cast, clock: Clock, earlier: str) -> None:
    for later in later_than(earlier):
        with transaction.atomic():
            clock.now = T0
            scene = TokenScene(api, cast, clock, cast.acme)
            TOKEN_CONDITIONS[later](scene)
            assert code_of(scene.validate()) == later, later
            TOKEN_CONDITIONS[earlier](scene)
            assert code_of(scene.validate()) == earlier, later
            if "PLUGIN_MISMATCH" not in (earlier, later):
                assert code_of(scene.refresh()) == earlier, later
            transaction.set_rollback(True)


@pytest.mark.parametrize("code", AT_REFRESH)
def test_reauthentication_comes_last(scene: TokenScene, clock: Clock, settings: Any, code: str) -> None:
    settings.REAUTHENTICATION_SECONDS = 0
    assert code_of(scene.refresh()) == "REAUTHENTICATION_DUE"
    TOKEN_CONDITIONS[code](scene)
    assert code_of(scene.refresh()) == code


@pytest.mark.parametrize("code", [code for code in TOKEN_CONDITIONS if code != "SUBSCRIPTION_NONE"])
def test_changed_entitlements_come_last(scene: TokenScene, code: str) -> None:
    subscribe(scene.member.customer, tier="Free")
    assert code_of(scene.validate()) == "ENTITLEMENTS_CHANGED"
    TOKEN_CONDITIONS[code](scene)
    assert code_of(scene.validate()) == code


class TestRevoked:
    """`TOKEN_REVOKED` is for a revoked or removed key, a released installation, or a newer generation."""

    def test_by_its_key(self, scene: TokenScene) -> None:
        ApiKey.objects.filter(pk=scene.member.api_key.pk).update(revoked_at=from_epoch(T0))
        assert code_of(scene.validate()) == "TOKEN_REVOKED"

    def test_by_its_key_being_gone(self, scene: TokenScene) -> None:
        ApiKey.objects.filter(pk=scene.member.api_key.pk).delete()
        assert code_of(scene.validate()) == "TOKEN_REVOKED"

    def test_by_its_customer_being_gone(self, scene: TokenScene) -> None:
        remove_customer(customer=scene.member.customer, actor=ACTOR)
        assert answer(scene.validate()).keys() == {"valid", "code", "detail"}
        assert code_of(scene.validate()) == "TOKEN_REVOKED"
        assert (scene.refresh().status_code, code_of(scene.refresh())) == (401, "TOKEN_REVOKED")

    @pytest.mark.parametrize("kind", ["customer", "key", "installation"])
    def test_by_a_newer_generation(self, scene: TokenScene, kind: str) -> None:
        ids = {
            "customer": scene.member.id,
            "key": scene.member.api_key.id,
            "installation": scene.installation_id,
        }
        sign_out(scene.member.customer, kind, ids[kind])
        assert code_of(scene.validate()) == "TOKEN_REVOKED"
        again = scene.api.authenticate(
            scene.member, plugin_name="api-logger", plugin_signature=scene.member.build.signature.hex()
        )
        scene.token = answer(again)["token"]
        assert code_of(scene.validate()) == "VALID"

    @pytest.mark.parametrize("confirmed", [True, False])
    def test_by_a_release(self, scene: TokenScene, confirmed: bool) -> None:
        release_installation(
            installation=Installation.objects.get(pk=scene.installation_id),
            reason="portal",
            confirmed=confirmed,
            actor=ACTOR,
            now=from_epoch(T0),
        )
        assert code_of(scene.validate()) == "TOKEN_REVOKED"

    def test_not_by_another_customers_generation(self, scene: TokenScene) -> None:
        sign_out(scene.cast.globex.customer, "customer", scene.cast.globex.id)
        assert code_of(scene.validate()) == "VALID"


class TestEntitlementsChanged:
    """The token is good, and what it grants is not what the customer has now."""

    def test_a_lower_tier(self, scene: TokenScene) -> None:
        subscribe(scene.member.customer, tier="Free")
        body = answer(scene.validate())
        assert (body["valid"], body["features_active"], body["code"]) == (True, False, "ENTITLEMENTS_CHANGED")
        assert body["subscription_active"] is True
        assert body["authorized_features"] == ["console_logging"]

    def test_a_higher_tier(self, scene: TokenScene) -> None:
        subscribe(scene.member.customer, tier="Enterprise")
        assert code_of(scene.validate()) == "ENTITLEMENTS_CHANGED"

    def test_another_limit_of_the_plugin(self, scene: TokenScene) -> None:
        Plugin.objects.filter(pk="api-logger").update(quota=5)
        assert code_of(scene.validate()) == "ENTITLEMENTS_CHANGED"

    def test_refreshing_ends_it(self, scene: TokenScene) -> None:
        subscribe(scene.member.customer, tier="Free")
        refreshed = answer(scene.refresh())
        assert (refreshed["subscription_tier"], refreshed["authorized_features"]) == ("Free", ["console_logging"])
        scene.token = refreshed["token"]
        body = answer(scene.validate())
        assert (body["code"], body["features_active"]) == ("VALID", True)

    def test_what_does_not_concern_the_plugin_is_no_change(self, scene: TokenScene) -> None:
        subscribe(scene.member.customer, tier="Pro", installation_limit=7, grace_until=T0 + 90 * DAY)
        assert code_of(scene.validate()) == "VALID"


def test_artifact_quarantine_reaches_the_tokens_of_its_build(scene: TokenScene) -> None:
    sha256 = BuildCredential.objects.get(pk=scene.member.build.id).binary_sha256
    quarantine("artifact", plugin="api-logger", target=sha256)
    assert code_of(scene.validate()) == "PLUGIN_QUARANTINED"
    assert code_of(scene.refresh()) == "PLUGIN_QUARANTINED"
