"""The demo: the catalogue and the two customers of the seed (plugin-authentication.md).

All its secrets come from outside, made before the database existed, so that loading it twice, or dying half-way,
changes nothing and loses nothing.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import transaction

from accounts.keyrings import peppers, ring
from accounts.models import SCOPES, ApiKey, Customer, Membership, OperatorKey, Role, User
from accounts.services.api_keys import issue_api_key
from accounts.services.customers import create_customer
from accounts.services.operators import issue_operator_key
from licensing.core.actor import Actor, system
from licensing.core.ids import new_id
from licensing.crypto import keys
from licensing.crypto.derivation import derive_key
from licensing.models import BuildCredential, Feature, Plugin, PluginAccess, Subscription, Tier, TierGrant
from licensing.services.proofs import build_secret_identity
from licensing.services.subscriptions import set_subscription

VERSION: Final = "2.1.0"
TARGET: Final = "linux/amd64"
OPERATOR_EMAIL: Final = "operator@keywright.example"
PERIOD: Final = timedelta(days=365)

FEATURES: Final[dict[str, tuple[str, str, str]]] = {
    "console_logging": ("bool", "Console logging", "Log to the console."),
    "api_logging": ("bool", "API logging", "Send logs to an API endpoint."),
    "batch_processing": ("bool", "Batch processing", "Send many events in one request."),
    "advanced_analytics": ("bool", "Advanced analytics", "Dashboards over what was logged."),
    "history_days": ("int", "History", "How many days of history are kept."),
    "support_level": ("str", "Support", "How questions are answered."),
    "private_repository": ("bool", "Private repository", "A registry of the customer's own plugins."),
    "compliance_reporting": ("bool", "Compliance reporting", "Reports for auditors."),
}
TIERS: Final[dict[str, dict[str, Any]]] = {
    "Free": {"rank": 10, "requests_per_minute": 60, "events_per_day": 10_000, "installation_limit": 3},
    "Pro": {"rank": 20, "requests_per_minute": 1000, "events_per_day": 1_000_000, "installation_limit": 25},
    "Enterprise": {"rank": 30, "requests_per_minute": 5000, "events_per_day": 10_000_000, "installation_limit": 500},
}
GRANTS: Final[dict[str, dict[str, Any]]] = {
    "Free": {"console_logging": True, "history_days": 1},
    "Pro": {
        "console_logging": True,
        "api_logging": True,
        "batch_processing": True,
        "advanced_analytics": True,
        "history_days": 30,
        "support_level": "email",
    },
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
PLUGINS: Final[dict[str, dict[str, Any]]] = {
    "console-logger": {"tier": "Free", "features": ["console_logging"], "accepts_unsigned": True},
    "api-logger": {"tier": "Free", "features": ["console_logging", "api_logging", "batch_processing"]},
    "advanced-analytics": {
        "tier": "Pro",
        "features": ["advanced_analytics", "history_days"],
        "accepts_unsigned": True,
    },
    "custom-compliance-reporter": {
        "tier": "Enterprise",
        "features": ["compliance_reporting", "history_days"],
        "accepts_unsigned": True,
        "private_to": ["enterprise_456"],
    },
}
CUSTOMERS: Final[dict[str, dict[str, str]]] = {
    "cust_123": {"name": "Acme Corp", "tier": "Pro", "admin": "admin@cust-123.example"},
    "enterprise_456": {"name": "Globex Enterprise", "tier": "Enterprise", "admin": "admin@enterprise-456.example"},
}


@dataclass(frozen=True, slots=True)
class DemoCustomerSecrets:
    """One demo customer's secrets. `build_secret` has 32 bytes."""

    api_key: str = field(repr=False)
    build_secret: bytes = field(repr=False)
    admin_password: str = field(repr=False)

    @property
    def signature(self) -> bytes:
        """What stands for `plugin.sig` until the build farm has made a real one: 384 bytes, as RSA-3072 gives."""
        return b"".join(
            derive_key(self.build_secret, info=b"keywright/demo-signature/v1\0%d" % part) for part in range(12)
        )


@dataclass(frozen=True, slots=True)
class DemoSecrets:
    """All secrets of the demo."""

    operator_password: str = field(repr=False)
    operator_key: str = field(repr=False)
    customers: Mapping[str, DemoCustomerSecrets] = field(repr=False)


def load_demo(*, secrets: DemoSecrets, now: datetime) -> None:
    """Make what is missing of the demo, in one transaction; what exists is left as it is, changed or not."""
    actor = system("demo")
    with transaction.atomic():
        _load_catalogue()
        for customer_id, described in CUSTOMERS.items():
            _load_customer(customer_id, described, secrets.customers[customer_id], actor, now)
        _load_operator(secrets, actor)


def _load_catalogue() -> None:
    for code, (value_type, name, description) in FEATURES.items():
        Feature.objects.get_or_create(
            code=code, defaults={"value_type": value_type, "name": name, "description": description}
        )
    for name, values in TIERS.items():
        tier, is_new = Tier.objects.get_or_create(name=name, defaults=values)
        if is_new:
            TierGrant.objects.bulk_create(
                TierGrant(tier=tier, feature_id=code, value=value) for code, value in GRANTS[name].items()
            )
    for name, described in PLUGINS.items():
        plugin, is_new = Plugin.objects.get_or_create(
            name=name,
            defaults={
                "required_tier_id": described["tier"],
                "is_private": "private_to" in described,
                "accepts_unsigned": described.get("accepts_unsigned", False),
                # The seed's bare request names no machine; the demo answers it as written.
                "installation_required": False,
            },
        )
        if is_new:
            for code in described["features"]:
                plugin.features.add(code)


def _load_customer(
    customer_id: str, described: Mapping[str, str], secrets: DemoCustomerSecrets, actor: Actor, now: datetime
) -> None:
    if Customer.objects.filter(pk=customer_id).exists():
        return
    customer = create_customer(customer_id=customer_id, name=described["name"], actor=actor)
    set_subscription(
        customer=customer,
        tier=Tier.objects.get(pk=described["tier"]),
        actor=actor,
        status=Subscription.Status.ACTIVE,
        period_start=now,
        period_end=now + PERIOD,
    )
    if not _is_stored(ApiKey, secrets.api_key):
        issue_api_key(customer=customer, name="Demo", actor=actor, scopes=SCOPES, key=secrets.api_key)
    for plugin, plugin_described in PLUGINS.items():
        if customer_id in plugin_described.get("private_to", []):
            PluginAccess.objects.create(plugin_id=plugin, customer=customer)
        _register_build(customer, plugin, secrets)
    user = _person(described["admin"], secrets.admin_password)
    Membership.objects.create(user=user, customer=customer, role=Role.OWNER)


def _register_build(customer: Customer, plugin: str, secrets: DemoCustomerSecrets) -> None:
    build_id = new_id("bld")
    BuildCredential.objects.create(
        id=build_id,
        customer=customer,
        plugin_id=plugin,
        version=VERSION,
        target=TARGET,
        signature_digest=hashlib.sha256(secrets.signature).digest(),
        sealed_secret=ring("builds").seal(secrets.build_secret, identity=build_secret_identity(build_id)),
    )


def _load_operator(secrets: DemoSecrets, actor: Actor) -> None:
    user = _person(OPERATOR_EMAIL, secrets.operator_password, is_staff=True, is_superuser=True)
    if not _is_stored(OperatorKey, secrets.operator_key):
        issue_operator_key(user=user, name="Demo", actor=actor, key=secrets.operator_key)


def _person(email: str, password: str, **fields: bool) -> User:
    return User.objects.filter(email__iexact=email).first() or User.objects.create_user(email, password, **fields)


def _is_stored(model: type[ApiKey] | type[OperatorKey], key: str) -> bool:
    return model.objects.filter(digest__in=peppers().digests(keys.fingerprint(key))).exists()


def description(secrets: DemoSecrets) -> dict[str, Any]:
    """What `quickstart.json` says: where the server is and everything needed to try it. Holds secrets."""
    return {
        "base_url": settings.PUBLIC_URL,
        "operator": {
            "email": OPERATOR_EMAIL,
            "password": secrets.operator_password,
            "api_key": secrets.operator_key,
        },
        "customers": {
            customer_id: {
                "api_key": secrets.customers[customer_id].api_key,
                "plugin_signature": secrets.customers[customer_id].signature.hex(),
                "build_secret": secrets.customers[customer_id].build_secret.hex(),
                "admin": {
                    "email": described["admin"],
                    "password": secrets.customers[customer_id].admin_password,
                },
            }
            for customer_id, described in CUSTOMERS.items()
        },
    }
