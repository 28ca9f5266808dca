"""The cast of the portal's tests: one organisation with somebody in every role and something of everything, another
organisation beside it, and the vendor's operators."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection
from django.test import Client

from accounts.models import ApiKey, Customer, Membership, Role, User
from accounts.services.api_keys import issue_api_key
from accounts.services.invitations import invitation_token, invite_member
from licensing.core import audit
from licensing.core.actor import system
from licensing.models import Installation, Plugin, UsageDay
from licensing.services.key_lifecycle import bootstrap
from licensing.services.quarantines import quarantine
from tests import cast as api_cast
from tests.farm_cast import load_farm, other_looks
from tests.portal_releases import load_shop

ACTOR = system("tests")
BACKEND = "allauth.account.auth_backends.AuthenticationBackend"
HOST = "<img src=x onerror=alert(1)>"


@dataclass
class PortalCast:
    """Who and what there is."""

    acme: Customer
    globex: Customer
    people: dict[str, User]
    outsider: User
    operator: User
    superuser: User
    names: dict[str, str] = field(default_factory=dict)
    """A value for each part of a URL."""
    others: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Further looks of pages that have several: (name, parts of the URL that differ)."""

    def client(self, person: User | None) -> Client:
        """A browser; signed in, unless `person` is None."""
        client = Client(raise_request_exception=False)
        if person is not None:
            client.force_login(person, backend=BACKEND)
        return client

    def role(self, role: str) -> Client:
        """A browser of the member with this role."""
        return self.client(self.people[role])


def load_portal_cast() -> PortalCast:
    """Make it."""
    now = datetime.now(UTC)
    api_cast.catalogue()
    acme, globex = api_cast.customer("acme_1", "Acme <b>Corp</b>"), api_cast.customer("globex_1", "Globex")
    api_cast.subscribe(acme)
    people = {role.value: _person(f"{role.value}@acme.example", acme, role) for role in Role}
    outsider = _person("owner@globex.example", globex, Role.OWNER)
    operator = User.objects.create_user("operator@vendor.example", is_staff=True)
    superuser = User.objects.create_user("super@vendor.example", is_staff=True, is_superuser=True)
    found = PortalCast(acme, globex, people, outsider, operator, superuser)
    found.names = {"customer_id": acme.pk, **_things(acme, now)}
    found.names["number"] = str(people["viewer"].pk)
    shop = load_shop(acme, ApiKey.objects.get(pk=found.names["key_id"]), now)
    found.names |= shop.names | load_farm(acme, now)
    found.others += shop.others + other_looks()
    return found


def fill(customer: Customer, *, installations: int, events: int) -> None:
    """Give a customer a fleet and a history, in one statement each."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO installation (id, customer_id, plugin_id, mode, fingerprint, is_anonymous, hostname, os, arch,"
            " version, build_id, api_key_id, last_seen_at, released_reason)"
            " SELECT 'inst_' || lpad(n::text, 22, '0'), %s, 'api-logger', 'live', 'print-' || n, false, 'host-' || n,"
            " 'linux', 'amd64', '2.' || n %% 7 || '.0', '', '', now() - n * interval '1 second', ''"
            " FROM generate_series(0, %s - 1) AS n",
            [customer.pk, installations],
        )
        cursor.execute(
            "INSERT INTO audit_event (actor_kind, actor_id, actor_display, action, subject_kind, subject_id,"
            " customer_id, code, request_id, detail)"
            " SELECT 'api_key', 'key_1', '', 'plugin.served', 'installation', 'inst_' || n, %s, 'VALID', '', '{}'"
            " FROM generate_series(1, %s) AS n",
            [customer.pk, events],
        )


def furnish(cast: PortalCast) -> None:
    """Give the organisation what a real one would have, for screenshots."""
    now = datetime.now(UTC)
    cast.acme.name = "Acme Corp"
    cast.acme.save()
    Installation.objects.filter(pk=cast.names["installation_id"]).update(hostname="build-01.berlin")
    ApiKey.objects.filter(pk=cast.names["key_id"]).update(name="CI")
    issue_api_key(customer=cast.acme, name="Berlin office", actor=ACTOR)
    issue_api_key(customer=cast.acme, name="Laptops of the developers", mode="test", actor=ACTOR)
    bootstrap(actor=ACTOR, now=now)
    fill(cast.acme, installations=60, events=40)
    UsageDay.objects.bulk_create(
        UsageDay(
            customer=cast.acme,
            plugin_name="api-logger",
            measure=measure,
            day=(now - timedelta(days=index)).date(),
            count=900 + (index * 7919) % 700 * scale,
        )
        for index in range(1, 30)
        for measure, scale in (("event:api_logging", 3), ("request:validate", 1), ("request:refresh", 1))
    )


def _person(email: str, customer: Customer, role: str) -> User:
    user = User.objects.create_user(email)
    Membership.objects.create(user=user, customer=customer, role=role)
    return user


def _things(acme: Customer, now: datetime) -> dict[str, Any]:
    key = issue_api_key(customer=acme, name="CI <script>alert(1)</script>", actor=ACTOR).api_key
    plugin = Plugin.objects.get(pk="api-logger")
    installation = Installation.objects.create(
        id="inst_main00000000000000000", customer=acme, plugin=plugin, fingerprint="f" * 32, hostname=HOST,
        version="2.1.0", os="linux", arch="amd64", api_key_id=key.pk, last_seen_at=now, last_seen_from="192.0.2.7",
    )  # fmt: skip
    invited = invite_member(customer=acme, email="new@acme.example", role="viewer", actor=ACTOR, now=now)
    entry, _ = quarantine(plugin=plugin, scope="version", target="1.0.0", reason="<b>bad</b>", actor=ACTOR, now=now)
    UsageDay.objects.create(
        customer=acme, plugin_name="api-logger", measure="event:api_logging", day=now.date(), count=7
    )
    UsageDay.objects.create(
        customer=acme, plugin_name="api-logger", measure="request:validate", day=now.date(), count=9
    )
    audit.record(actor=ACTOR, action="plugin.denied", customer_id=acme.pk, code="TIER_TOO_LOW", is_change=False)
    return {
        "key_id": key.pk,
        "installation_id": installation.pk,
        "invitation_id": invited.pk,
        "quarantine_id": entry.pk,
        "plugin": "api-logger",
        "token": invitation_token(invited),
        "uidb36": "1",
        "key": "set-password",
        "pk": "1",
    }
