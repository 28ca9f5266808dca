"""`manage.py self_check`: a plugin's day against a running server, with a customer made for it and removed after."""

import http.client
import json
import time
import urllib.error
import urllib.request
from argparse import ArgumentParser
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from django.core.management.base import BaseCommand, CommandError

from accounts.models import Customer
from accounts.services.api_keys import IssuedKey, issue_api_key, revoke_api_key
from accounts.services.customers import create_customer
from licensing.core.actor import system
from licensing.models import Feature, Plugin, Subscription, Tier, TierGrant
from licensing.services.subscriptions import set_subscription

_SEEN_WITHIN_SECONDS = 5.0
_ACTOR = system("self_check")
# Straight to the server: a proxy that this machine uses for the internet knows nothing of its loopback.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class CheckFailed(Exception):
    """A step did not go as it must; the text says what came instead."""


class Command(BaseCommand):
    """Prints each step with its time; exit status 0 when all went well, 1 otherwise."""

    help = "Run authenticate, validate, refresh, a tier change and a revocation against a running server."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Where the server answers."""
        parser.add_argument("--base-url", required=True)

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the steps; whatever happens, what was made for them is removed."""
        flow = Flow(options["base_url"].rstrip("/"))
        try:
            flow.prepare()
            for name, step in flow.steps():
                self._run(name, step)
        finally:
            flow.clean_up()
        self.stdout.write("The self-check passed.")

    def _run(self, name: str, step: Callable[[], None]) -> None:
        started = time.perf_counter()
        try:
            step()
        except (CheckFailed, OSError, http.client.HTTPException, KeyError, ValueError) as exc:
            self.stdout.write(f"  FAIL  {name}")
            raise CommandError(f"The self-check failed at “{name}”: {exc}") from exc
        self.stdout.write(f"  ok    {name}  {(time.perf_counter() - started) * 1000:.0f} ms")


class Flow:
    """The steps, and what they hand on to one another."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._suffix = uuid4().hex[:12]
        self._customer_id = f"check_{self._suffix}"
        self._issued: IssuedKey
        self._token = ""
        self._installation = ""

    def steps(self) -> list[tuple[str, Callable[[], None]]]:
        """Names and actions, in order."""
        return [
            ("authenticate", self._authenticate),
            ("validate", self._validate),
            ("refresh", self._refresh),
            ("a tier change is seen", self._change_tier),
            ("a revoked key is refused", self._revoke),
        ]

    def prepare(self) -> None:
        """Make a catalogue and a customer of the check's own."""
        low, high, feature, plugin = (f"{kind}_{self._suffix}" for kind in ("Low", "High", "feature", "plugin"))
        rank = 1_000_000 + int(self._suffix[:6], 16)
        premium = Feature.objects.create(code=feature)
        Tier.objects.create(name=low, rank=rank * 2)
        Tier.objects.create(name=high, rank=rank * 2 + 1)
        TierGrant.objects.create(tier_id=high, feature_id=feature)
        Plugin.objects.create(name=plugin, required_tier_id=low, accepts_unsigned=True).features.add(premium)
        customer = create_customer(customer_id=self._customer_id, name="Self-check", actor=_ACTOR)
        self._subscribe(customer, high)
        self._issued = issue_api_key(customer=customer, name="Self-check", actor=_ACTOR)

    def clean_up(self) -> None:
        """Remove all of it, but for its audit rows."""
        Customer.objects.filter(pk=self._customer_id).delete()
        Plugin.objects.filter(pk=f"plugin_{self._suffix}").delete()
        Tier.objects.filter(pk__in=[f"Low_{self._suffix}", f"High_{self._suffix}"]).delete()
        Feature.objects.filter(pk=f"feature_{self._suffix}").delete()

    def _subscribe(self, customer: Customer, tier: str) -> None:
        now = datetime.now(UTC)
        set_subscription(
            customer=customer,
            tier=Tier.objects.get(pk=tier),
            actor=_ACTOR,
            status=Subscription.Status.ACTIVE,
            period_start=now,
            period_end=now + timedelta(days=1),
        )

    def _authenticate(self) -> None:
        status, body = self._post("authenticate", self._issued.key, self._asked())
        _expect(status == 200, f"status {status}, code {body.get('code')}")
        _expect(body["authorized_features"] == [f"feature_{self._suffix}"], "the tier's feature is missing")
        self._token, self._installation = body["token"], body["installation_id"]

    def _validate(self) -> None:
        status, body = self._validation()
        _expect(status == 200 and body["valid"] is True, f"status {status}, code {body.get('code')}")
        _expect(body["code"] == "VALID", f"code {body['code']}")

    def _refresh(self) -> None:
        status, body = self._post("refresh", self._token, {})
        _expect(status == 200, f"status {status}, code {body.get('code')}")
        _expect(body["installation_id"] == self._installation, "another installation")
        _expect(body["token"] != self._token, "the same token again")
        self._token = body["token"]

    def _change_tier(self) -> None:
        self._subscribe(Customer.objects.get(pk=self._customer_id), f"Low_{self._suffix}")
        self._wait_for(lambda: self._validation()[1].get("code"), "ENTITLEMENTS_CHANGED")
        status, body = self._post("refresh", self._token, {})
        _expect(status == 200 and body["authorized_features"] == [], "the feature is still granted")
        self._token = body["token"]

    def _revoke(self) -> None:
        revoke_api_key(api_key=self._issued.api_key, actor=_ACTOR, now=datetime.now(UTC))
        self._wait_for(
            lambda: self._post("authenticate", self._issued.key, self._asked())[1].get("code"), "API_KEY_REVOKED"
        )
        self._wait_for(lambda: self._validation()[1].get("code"), "TOKEN_REVOKED")

    def _validation(self) -> tuple[int, dict[str, Any]]:
        asked = {"plugin_name": f"plugin_{self._suffix}", "plugin_token": self._token}
        return self._post("validate", self._token, asked)

    def _asked(self) -> dict[str, Any]:
        return {
            "plugin_name": f"plugin_{self._suffix}",
            "plugin_version": "1.0.0",
            "customer_id": self._customer_id,
            "installation": {"fingerprint": f"self-check-{self._suffix}"},
        }

    def _wait_for(self, ask: Callable[[], object], wanted: str) -> None:
        deadline = time.monotonic() + _SEEN_WITHIN_SECONDS
        while (got := ask()) != wanted:
            _expect(time.monotonic() < deadline, f"{got} instead of {wanted} after {_SEEN_WITHIN_SECONDS:.0f} s")
            time.sleep(0.02)

    def _post(self, endpoint: str, credential: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        request = urllib.request.Request(  # noqa: S310  the operator named the address
            f"{self._base_url}/api/plugins/{endpoint}",
            data=json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {credential}", "Content-Type": "application/json"},
            method="POST",
        )
        try:
            with _opener.open(request, timeout=10) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as exc:
            return exc.code, json.load(exc)


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise CheckFailed(otherwise)
