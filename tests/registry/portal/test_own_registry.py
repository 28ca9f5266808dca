"""The private registry's pages: tokens shown once and revoked, the policy with its consequences, and life without."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from licensing.core.models import AuditEvent
from licensing.models import Entitlement, Plugin, PluginAccess
from registry.models import CustomerPolicy, RegistryToken
from tests.portal_cast import PortalCast

REGISTRY = "/portal/acme_1/registry"
FORM = {"name": "CI", "lifetime": "30"}
POLICY = {
    "plugin_verification": "strict", "allowed_sources": "", "blocked_plugins": "old-exporter",
    "version_pins": "analytics 1", "seen": "3",
}  # fmt: skip


def _without(cast: PortalCast) -> None:
    Entitlement.objects.filter(customer=cast.acme).delete()


def _post(cast: PortalCast, path: str, data: dict[str, Any], *, role: str = "developer") -> Any:
    return cast.role(role).post(f"{REGISTRY}/{path}", data)


def test_a_token_is_shown_once_and_works(cast: PortalCast) -> None:
    caps = {"plugins": ["api-logger"], "max_downloads": "10", "max_mebibytes": "5"}
    made = _post(cast, "tokens/new", FORM | caps)
    secret = made.context["secret"]
    row = RegistryToken.objects.get(name="CI")
    assert made.status_code == 201
    assert made.headers["Cache-Control"] == "no-store"
    assert made.content.decode().count(secret) == 2  # by itself, and in the export line
    assert (row.plugins, row.max_downloads, row.max_bytes) == (["api-logger"], 10, 5 * 1024**2)
    assert 29 <= (row.expires_at - row.created_at).days <= 30
    index = Client().get("/private/acme_1/", headers={"Authorization": f"Bearer {secret}"})
    assert index.status_code == 200
    assert [each["name"] for each in index.json()["plugins"]] == ["api-logger"]
    for page in ("", f"/tokens/{row.pk}", f"/tokens/{row.pk}/revoke"):
        assert secret.encode() not in cast.role("owner").get(f"{REGISTRY}{page}").content
    assert secret not in str(list(AuditEvent.objects.values_list("detail", flat=True)))


def test_revoking_says_the_effect_and_acts_at_once(cast: PortalCast) -> None:
    secret = _post(cast, "tokens/new", FORM).context["secret"]
    row = RegistryToken.objects.get(name="CI")
    asked = cast.role("developer").get(f"{REGISTRY}/tokens/{row.pk}/revoke").content
    assert b"stops working within a second, and so do the download links" in asked
    assert RegistryToken.objects.get(pk=row.pk).revoked_at is None
    assert _post(cast, f"tokens/{row.pk}/revoke", {}).headers["Location"] == REGISTRY
    assert Client().get("/private/acme_1/", headers={"Authorization": f"Bearer {secret}"}).status_code == 401
    page = cast.role("viewer").get(f"{REGISTRY}/tokens/{row.pk}").content
    assert b"revoked in the portal" in page


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": " "}, "name"),
        ({"lifetime": "4000"}, "lifetime"),
        ({"plugins": ["somebody-elses"]}, "plugins"),
        ({"max_downloads": "0"}, "max_downloads"),
        ({"max_mebibytes": "99999999999999999999"}, "max_mebibytes"),
    ],
)
def test_a_token_that_cannot_be_is_refused_beside_its_field(cast: PortalCast, changes: Any, field: str) -> None:
    page = _post(cast, "tokens/new", FORM | changes)
    assert page.status_code == 200
    assert field in page.context["form"].errors
    assert RegistryToken.objects.count() == 2


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "active"),
        ({"max_downloads": 412}, "used up"),
        ({"max_bytes": 9 * 1024**3}, "used up"),
        ({"expires_at": "2026-01-01T00:00:00Z"}, "expired"),
    ],
)
def test_a_tokens_standing_in_a_word(cast: PortalCast, changes: Any, expected: str) -> None:
    RegistryToken.objects.filter(pk=cast.names["token_id"]).update(**changes)
    page = cast.role("viewer").get(f"{REGISTRY}/tokens/{cast.names['token_id']}")
    assert page.context["standing"] == expected


def test_the_allow_list_names_private_plugins_that_are_ours(cast: PortalCast) -> None:
    for name, owner in (("acme-reporter", cast.acme), ("globex-reporter", cast.globex)):
        Plugin.objects.create(name=name, required_tier_id="Free", is_private=True)
        PluginAccess.objects.create(plugin_id=name, customer=owner)
    page = cast.role("viewer").get(REGISTRY)
    assert [plugin.pk for plugin in page.context["allowed"]] == ["acme-reporter"]
    assert b"globex-reporter" not in page.content


def test_without_the_feature_the_page_says_what_it_would_give(cast: PortalCast) -> None:
    _without(cast)
    for path in ("", "/tokens/new"):
        assert b"Your subscription has no private registry" in cast.role("owner").get(f"{REGISTRY}{path}").content
    refused = _post(cast, "tokens/new", FORM)
    assert refused.status_code == 403
    assert not RegistryToken.objects.filter(name="CI").exists()
    token_id = cast.names["token_id"]  # one of before: seen, and revoked
    assert f"tokens/{token_id}".encode() in cast.role("owner").get(REGISTRY).content
    assert _post(cast, f"tokens/{token_id}/revoke", {}).status_code == 302
    assert RegistryToken.objects.get(pk=token_id).revoked_at is not None


def test_a_harmless_change_of_the_policy_is_made_at_once(cast: PortalCast) -> None:
    answer = _post(cast, "policy", POLICY | {"blocked_plugins": "", "auto_update": "on"})
    assert answer.status_code == 302
    row = CustomerPolicy.objects.get(pk="acme_1")
    assert (row.blocked_plugins, row.auto_update, row.version) == ([], True, 4)
    assert AuditEvent.objects.get(action="policy.changed").actor_kind == "person"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"plugin_verification": "warn"}, "plugins that do not verify"),
        ({"allow_unsigned": "on"}, "that nobody has signed"),
        ({"blocked_plugins": "old-exporter\napi-logger"}, "api-logger is not sent to you any more"),
        ({"version_pins": "analytics 1\napi-logger 2.1"}, "api-logger stays at 2.1"),
        ({"allowed_sources": "https://elsewhere.example"}, "nothing can be downloaded from it"),
    ],
)
def test_a_change_that_loosens_or_takes_away_is_asked_about_once(cast: PortalCast, changes: Any, words: str) -> None:
    asked = _post(cast, "policy", POLICY | changes)
    assert asked.status_code == 200
    assert any(words in line for line in asked.context["effects"]), asked.context["effects"]
    assert CustomerPolicy.objects.get(pk="acme_1").version == 3
    hidden = {field.html_name: field.value() for field in asked.context["form"]}
    sent = {name: value for name, value in hidden.items() if value not in (None, False)}
    assert _post(cast, "policy", sent | {"confirmed": "1"}).status_code == 302
    assert CustomerPolicy.objects.get(pk="acme_1").version == 4


def test_what_is_hidden_on_the_page_that_asks_is_what_is_saved(cast: PortalCast) -> None:
    """As a browser without scripts sends it: a box that was not ticked comes back as `False`."""
    asked = _post(cast, "policy", POLICY | {"plugin_verification": "off"}).content.decode()
    assert 'type="hidden" name="allow_unsigned" value="False"' in asked
    sent = POLICY | {"plugin_verification": "off", "allow_unsigned": "False", "auto_update": "False", "confirmed": "1"}
    assert _post(cast, "policy", sent).status_code == 302
    row = CustomerPolicy.objects.get(pk="acme_1")
    assert (row.plugin_verification, row.allow_unsigned, row.auto_update) == ("off", False, False)
    assert (row.blocked_plugins, row.version_pins) == (["old-exporter"], {"analytics": "1"})


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"allowed_sources": "not a url"}, "allowed_sources"),
        ({"blocked_plugins": "No Such Name!"}, "blocked_plugins"),
        ({"version_pins": "api-logger"}, "version_pins"),
        ({"version_pins": "api-logger latest"}, "version_pins"),
        ({"plugin_verification": "maybe"}, "plugin_verification"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_beside_its_field(cast: PortalCast, changes: Any, field: str) -> None:
    page = _post(cast, "policy", POLICY | changes | {"confirmed": "1"})
    assert page.status_code == 200
    assert field in page.context["form"].errors
    assert CustomerPolicy.objects.get(pk="acme_1").version == 3


def test_two_who_save_at_once_do_not_undo_each_other_unseen(cast: PortalCast) -> None:
    assert _post(cast, "policy", POLICY | {"auto_update": "on"}).status_code == 302
    page = _post(cast, "policy", POLICY | {"blocked_plugins": ""})
    assert "Somebody else changed the policy" in str(page.context["form"].errors)
    row = CustomerPolicy.objects.get(pk="acme_1")
    assert (row.auto_update, row.blocked_plugins) == (True, ["old-exporter"])


def test_a_viewer_reads_the_policy_and_changes_nothing(cast: PortalCast) -> None:
    assert b">Save<" not in cast.role("viewer").get(f"{REGISTRY}/policy").content
    assert _post(cast, "policy", POLICY | {"auto_update": "on"}, role="viewer").status_code == 403
    assert CustomerPolicy.objects.get(pk="acme_1").version == 3


@pytest.mark.parametrize("suffix", ["", "/revoke"])
def test_another_organisations_token_is_answered_like_none(cast: PortalCast, suffix: str) -> None:
    outsider = cast.client(cast.outsider)
    theirs = f"/portal/globex_1/registry/tokens/{cast.names['token_id']}{suffix}"
    assert outsider.get(theirs).status_code == outsider.get(theirs.replace("pat_0", "pat_9")).status_code == 404
    assert outsider.post(theirs).status_code in (404, 405)
    assert RegistryToken.objects.get(pk=cast.names["token_id"]).revoked_at is None
