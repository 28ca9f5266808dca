"""The fixed cast of the tests: one catalogue, customers with keys, builds and signing keys, and makers of more.

`load_cast` writes it to the database; who calls it decides whether that is committed (see the fixtures in conftest.py).
Everything happens around `T0`, a whole second close to the machine's own time, since some statements of the server
ask the database what time it is.
"""

import hashlib
import secrets
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final
from unittest import mock

from django.apps import apps
from django.db import connection, transaction

from accounts.keyrings import ring
from accounts.models import ApiKey, Customer
from accounts.services.api_keys import IssuedKey, issue_api_key
from accounts.services.customers import create_customer
from licensing.core.actor import Actor, system
from licensing.core.clock import from_epoch
from licensing.core.ids import new_id
from licensing.crypto.authority import LeafPrivateKey, Purpose, generate_purpose_key
from licensing.models import (
    BuildCredential,
    Feature,
    Generation,
    Installation,
    Plugin,
    PluginAccess,
    Quarantine,
    Subscription,
    Tier,
    TierGrant,
)
from licensing.services import key_lifecycle
from licensing.services.proofs import build_secret_identity, remember_from_the_start
from licensing.services.subscriptions import set_subscription

T0: Final = int(time.time())
DAY: Final = 86400
PERIOD_END: Final = T0 + 30 * DAY
VERSION: Final = "2.1.0"
ACTOR: Final[Actor] = system("cast")

FEATURES: Final = {
    "console_logging": "bool",
    "api_logging": "bool",
    "batch_processing": "bool",
    "advanced_analytics": "bool",
    "history_days": "int",
    "support_level": "str",
    "private_repository": "bool",
    "compliance_reporting": "bool",
}
TIERS: Final[dict[str, dict[str, Any]]] = {
    "Free": {"rank": 10, "requests_per_minute": 60, "events_per_day": 10_000, "installation_limit": 3},
    "Pro": {"rank": 20, "requests_per_minute": 1000, "events_per_day": 1_000_000, "installation_limit": 25},
    "Enterprise": {"rank": 30, "requests_per_minute": 5000, "events_per_day": 10_000_000, "installation_limit": 500},
}
GRANTS: Final[dict[str, dict[str, Any]]] = {
    "Free": {"console_logging": True, "history_days": 1},
    "Pro": {"console_logging": True, "api_logging": True, "batch_processing": True, "history_days": 30},
    "Enterprise": {
        "console_logging": True,
        "api_logging": True,
        "batch_processing": True,
        "advanced_analytics": True,
        "history_days": 365,
        "support_level": "dedicated",
        "private_repository": True,
        "compliance_reporting": True,
    },
}
# Plugin: required tier, features in its order, fields.
PLUGINS: Final[dict[str, tuple[str, list[str], dict[str, Any]]]] = {
    "console-logger": ("Free", ["console_logging"], {"accepts_unsigned": True}),
    "api-logger": ("Free", ["console_logging", "api_logging", "batch_processing"], {}),
    "advanced-analytics": ("Pro", ["history_days"], {"accepts_unsigned": True}),
    "enterprise-search": ("Enterprise", ["history_days"], {"accepts_unsigned": True}),
    "custom-compliance-reporter": (
        "Enterprise",
        ["compliance_reporting", "history_days"],
        {"accepts_unsigned": True, "is_private": True},
    ),
}


@dataclass(frozen=True, slots=True)
class Build:
    """A registered build: what its plugin would send (`signature`) and prove with (`secret`)."""

    id: str
    signature: bytes = field(repr=False)
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Member:
    """One customer of the cast with a live key and a build of api-logger."""

    customer: Customer
    api_key: ApiKey
    key: str = field(repr=False)
    build: Build

    @property
    def id(self) -> str:
        """The customer's id."""
        return self.customer.pk


@dataclass(frozen=True, slots=True)
class Cast:
    """`acme` is Pro, `globex` Enterprise with the private plugin, `initech` Free: each knows nothing of the others."""

    acme: Member
    globex: Member
    initech: Member


def load_cast() -> Cast:
    """Write catalogue, signing keys and the three customers."""
    with transaction.atomic(), mock.patch.object(key_lifecycle, "generate_purpose_key", _purpose_key):
        make_catalogue()
        key_lifecycle.bootstrap(actor=ACTOR, now=from_epoch(T0))
        cast = Cast(
            acme=make_member("cust_123", tier="Pro"),
            globex=make_member("enterprise_456", tier="Enterprise"),
            initech=make_member("initech", tier="Free"),
        )
        PluginAccess.objects.create(plugin_id="custom-compliance-reporter", customer=cast.globex.customer)
    remember_from_the_start()
    return cast


@cache
def _purpose_key(purpose: Purpose) -> LeafPrivateKey:
    """A certificate's key, made once a process: an RSA key takes longer to make than all the rest of the cast."""
    return generate_purpose_key(purpose)


def empty_tables() -> None:
    """Remove every row of our own tables, for whoever committed."""
    ours = {
        model._meta.db_table
        for app in ("core", "accounts", "licensing", "registry", "build_farm")
        for model in apps.get_app_config(app).get_models(include_auto_created=True)
    }
    with connection.cursor() as cursor:
        tables = ", ".join(f'"{name}"' for name in connection.introspection.table_names(cursor) if name in ours)
        cursor.execute("SET lock_timeout = '10s'")
        cursor.execute(f"TRUNCATE {tables} RESTART IDENTITY CASCADE")
        cursor.execute("RESET lock_timeout")


def make_catalogue() -> None:
    """Write features, tiers and plugins."""
    Feature.objects.bulk_create(Feature(code=code, value_type=kind) for code, kind in FEATURES.items())
    Tier.objects.bulk_create(Tier(name=name, **values) for name, values in TIERS.items())
    TierGrant.objects.bulk_create(
        TierGrant(tier_id=tier, feature_id=feature, value=value)
        for tier, grants in GRANTS.items()
        for feature, value in grants.items()
    )
    for name, (tier, features, fields) in PLUGINS.items():
        plugin = Plugin.objects.create(name=name, required_tier_id=tier, **fields)
        for feature in features:
            plugin.features.add(feature)


def make_member(customer_id: str, *, tier: str | None = "Pro", **subscription: Any) -> Member:
    """Make a customer with a subscription (none with `tier=None`), a live key, and a build of api-logger."""
    customer = create_customer(customer_id=customer_id, name=customer_id.title(), actor=ACTOR)
    if tier is not None:
        subscribe(customer, tier=tier, **subscription)
    issued = make_key(customer)
    return Member(customer, issued.api_key, issued.key, make_build(customer))


def subscribe(
    customer: Customer,
    *,
    tier: str = "Pro",
    status: str = "active",
    period_end: float = PERIOD_END,
    grace_until: float | None = None,
    installation_limit: int | None = None,
) -> Subscription:
    """Make the customer's subscription be this; instants in Unix seconds."""
    return set_subscription(
        customer=customer,
        tier=Tier.objects.get(pk=tier),
        actor=ACTOR,
        status=status,
        period_start=from_epoch(period_end) - timedelta(days=365),
        period_end=from_epoch(period_end),
        grace_until=None if grace_until is None else from_epoch(grace_until),
        installation_limit=installation_limit,
    )


def make_key(customer: Customer, **fields: Any) -> IssuedKey:
    """Issue an API key; fields as `issue_api_key`."""
    return issue_api_key(customer=customer, name="Test", actor=ACTOR, **fields)


def make_build(
    customer: Customer, *, plugin: str = "api-logger", version: str = VERSION, expires_at: datetime | None = None
) -> Build:
    """Register a build credential as the build farm would."""
    build_id, signature, secret = new_id("bld"), secrets.token_bytes(384), secrets.token_bytes(32)
    BuildCredential.objects.create(
        id=build_id,
        customer=customer,
        plugin_id=plugin,
        version=version,
        target="linux/amd64",
        signature_digest=hashlib.sha256(signature).digest(),
        binary_sha256=secrets.token_hex(32),
        sealed_secret=ring("builds").seal(secret, identity=build_secret_identity(build_id)),
        expires_at=expires_at,
    )
    return Build(build_id, signature, secret)


def make_installation(customer: Customer, fingerprint: str, **fields: Any) -> Installation:
    """Write an installation's row as it would be after an activation."""
    values = {"plugin_id": "console-logger", "mode": "live", **fields}
    return Installation.objects.create(id=new_id("inst"), customer=customer, fingerprint=fingerprint, **values)


def quarantine(scope: str, *, plugin: str = "api-logger", target: str = "", customer: Customer | None = None) -> None:
    """Put something in quarantine."""
    Quarantine.objects.create(
        id=new_id("qua"), scope=scope, plugin_name=plugin, target=target, customer=customer, created_by="cast"
    )


def sign_out(customer: Customer, kind: str, subject_id: str) -> None:
    """Outdate the tokens of a customer, key or installation."""
    Generation.objects.create(customer=customer, kind=kind, subject_id=subject_id, value=1)


def without_secret(settings: Any, name: str) -> None:
    """Take `API_KEY_PEPPERS`, or the key-encryption key of a purpose, away from this process for one test."""
    if name == "API_KEY_PEPPERS":
        settings.API_KEY_PEPPERS = ""
    else:
        settings.KEY_ENCRYPTION_KEYS = {**settings.KEY_ENCRYPTION_KEYS, name: ""}
