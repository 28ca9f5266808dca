"""A fixed cast for API tests: operators, customers and their keys, and a client that speaks JSON as one of them."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.http import HttpResponse
from django.test import Client

from accounts.models import SCOPES, Customer, User
from accounts.services.api_keys import issue_api_key
from accounts.services.customers import create_customer
from accounts.services.operators import issue_operator_key
from licensing.core.actor import system
from licensing.models import Feature, Plugin, Subscription, Tier, TierGrant
from licensing.services.subscriptions import set_subscription

ACTOR = system("tests")
NOW = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)


@dataclass
class Api:
    """A client with one credential; an empty one sends none."""

    credential: str = ""

    def __post_init__(self) -> None:
        self._client = Client(raise_request_exception=False)

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> HttpResponse:
        """Send one request; `headers` as `Idempotency_Key="…"`."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.credential:
            sent.setdefault("Authorization", f"Bearer {self.credential}")
        content = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
        return self._client.generic(method, path, headers=sent, **content)

    def get(self, path: str, **headers: str) -> HttpResponse:
        """GET."""
        return self("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> HttpResponse:
        """POST; without a body, an empty one."""
        return self("POST", path, body, **headers)

    def put(self, path: str, body: Any, **headers: str) -> HttpResponse:
        """PUT."""
        return self("PUT", path, body, **headers)

    def patch(self, path: str, body: Any, **headers: str) -> HttpResponse:
        """PATCH."""
        return self("PATCH", path, body, **headers)

    def delete(self, path: str, **headers: str) -> HttpResponse:
        """DELETE."""
        return self("DELETE", path, **headers)


def operator(email: str = "ada@vendor.example", *, is_superuser: bool = True) -> tuple[User, Api]:
    """An operator and a client with a key of theirs."""
    user = User.objects.create_user(email, is_staff=True, is_superuser=is_superuser)
    return user, Api(issue_operator_key(user=user, name="tests", actor=ACTOR).key)


def customer(customer_id: str, name: str = "") -> Customer:
    """A customer."""
    return create_customer(customer_id=customer_id, name=name or customer_id.title(), actor=ACTOR)


def key_of(owner: Customer, **options: Any) -> Api:
    """A client with a new key of a customer, of all scopes unless said otherwise."""
    options.setdefault("scopes", SCOPES)
    return Api(issue_api_key(customer=owner, name="tests", actor=ACTOR, **options).key)


def catalogue() -> None:
    """Tiers Free and Pro, features, and the plugins api-logger (Free) and analytics (Pro)."""
    for code, kind in (("api_logging", "bool"), ("history_days", "int"), ("support_level", "str")):
        Feature.objects.create(code=code, value_type=kind)
    Tier.objects.create(name="Free", rank=0, installation_limit=2)
    Tier.objects.create(name="Pro", rank=10)
    TierGrant.objects.create(tier_id="Pro", feature_id="api_logging")
    TierGrant.objects.create(tier_id="Pro", feature_id="history_days", value=30)
    logger = Plugin.objects.create(name="api-logger", required_tier_id="Free", accepts_unsigned=True)
    logger.features.add("api_logging", "history_days")
    Plugin.objects.create(name="analytics", required_tier_id="Pro", accepts_unsigned=True)


def subscribe(owner: Customer, tier: str = "Pro", *, now: datetime | None = None, **options: Any) -> Subscription:
    """Subscribe a customer for thirty days."""
    start = now or datetime.now(UTC)
    values = {"status": "active", "period_start": start, "period_end": start + timedelta(days=30)} | options
    return set_subscription(customer=owner, tier=Tier.objects.get(pk=tier), actor=ACTOR, **values)
