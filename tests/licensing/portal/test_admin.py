"""Django's admin shows, changes nothing, and shows no secret."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.db.models import BinaryField
from django.urls import reverse

from accounts.admin import ReadOnlyAdmin
from accounts.models import ApiKey
from tests.portal_cast import PortalCast

OURS = ("accounts", "licensing", "core", "registry", "build_farm")


def _registered() -> list[type]:
    return [model for model in admin.site._registry if model._meta.app_label in OURS]


def test_none_of_our_tables_can_be_edited() -> None:
    assert len(_registered()) > 15
    for model in _registered():
        assert isinstance(admin.site._registry[model], ReadOnlyAdmin), model


@pytest.mark.parametrize("model", _registered(), ids=lambda model: model.__name__)
def test_operators_look_and_others_do_not(model: type, cast: PortalCast) -> None:
    meta = model._meta  # type: ignore[attr-defined]
    url = reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist")
    client = cast.client(cast.operator)
    assert client.get(url).status_code == 200
    assert client.get(reverse(f"admin:{meta.app_label}_{meta.model_name}_add")).status_code == 403
    row = model._default_manager.first()  # type: ignore[attr-defined]
    if row is not None:
        page = client.get(reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk]))
        assert page.status_code == 200
        stored = [field.name for field in meta.fields if isinstance(field, BinaryField)]
        for name in [*stored, "password"]:
            assert f"field-{name}".encode() not in page.content
        assert client.post(page.request["PATH_INFO"], {}).status_code == 403
    for other in (cast.people["owner"], cast.outsider, None):
        assert cast.client(other).get(url).status_code == 302


def test_the_admins_pages_keep_a_policy(cast: PortalCast) -> None:
    policy = cast.client(cast.operator).get("/admin/").headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


def test_a_key_shows_four_characters(cast: PortalCast) -> None:
    row = ApiKey.objects.get(pk=cast.names["key_id"])
    page = cast.client(cast.superuser).get(reverse("admin:accounts_apikey_change", args=[row.pk]))
    assert row.last4.encode() in page.content
    assert bytes(row.digest).hex().encode() not in page.content
