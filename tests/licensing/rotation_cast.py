"""Three customers with a key each, signing keys and a build: everything that a rotation has to rewrite."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.test import Client

from accounts.keyrings import ring
from accounts.models import ApiKey
from accounts.services.api_keys import issue_api_key
from accounts.services.customers import create_customer
from licensing.core.actor import system
from licensing.models import BuildCredential, Plugin, Tier
from licensing.services.key_lifecycle import bootstrap
from licensing.services.proofs import build_secret_identity
from licensing.services.subscriptions import set_subscription

ACTOR = system("test")


@dataclass(frozen=True)
class Holder:
    """A customer's key, and the customer."""

    customer_id: str
    api_key: ApiKey
    key: str = field(repr=False)

    def authenticate(self, client: Client) -> int:
        """Ask as a plugin would; the status of the answer."""
        response = client.post(
            "/api/plugins/authenticate",
            {"plugin_name": "rotated", "plugin_version": "1.0.0", "customer_id": self.customer_id},
            content_type="application/json",
            headers={"Authorization": f"Bearer {self.key}"},
        )
        return response.status_code


def load_holders() -> list[Holder]:
    """Write it all; in one transaction or not, as the caller likes."""
    tier = Tier.objects.create(name="Rotated", rank=1)
    Plugin.objects.create(name="rotated", required_tier=tier, accepts_unsigned=True)
    bootstrap(actor=ACTOR, now=datetime.now(UTC))
    holders = [_holder(name, tier) for name in ("rot_one", "rot_two", "rot_three")]
    BuildCredential.objects.create(
        id="bld_rotated",
        customer_id=holders[0].customer_id,
        plugin_id="rotated",
        version="1.0.0",
        target="linux/amd64",
        signature_digest=bytes(32),
        sealed_secret=ring("builds").seal(b"s" * 32, identity=build_secret_identity("bld_rotated")),
    )
    return holders


def _holder(customer_id: str, tier: Tier) -> Holder:
    customer = create_customer(customer_id=customer_id, name=customer_id, actor=ACTOR)
    now = datetime.now(UTC)
    set_subscription(
        customer=customer,
        tier=tier,
        actor=ACTOR,
        status="active",
        period_start=now,
        period_end=now + timedelta(days=30),
    )
    issued = issue_api_key(customer=customer, name="test", actor=ACTOR)
    return Holder(customer_id, issued.api_key, issued.key)
