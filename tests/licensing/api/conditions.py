"""For each code, how to make it the answer to an authenticate request: the table that code tests are written on.

A `Scene` is a request of cust_123's api-logger build that would be granted. A condition changes the request or the
state so that one rule says no. Conditions can be laid on one another, the later code first, to see which one wins.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from django.http import HttpResponse

from accounts.models import ApiKey, Customer
from licensing.core.clock import from_epoch
from licensing.crypto.keys import generate_key
from licensing.models import BuildCredential, Installation, Lockdown, Plugin, Subscription
from tests.licensing.api.driver import MACHINE, PluginApi, asked, proof_headers, signed
from tests.licensing.cast import T0, VERSION, Cast, Member, make_installation, quarantine


@dataclass
class Scene:
    """One authenticate request, and whoever sends it."""

    api: PluginApi
    cast: Cast
    member: Member
    key: str = ""
    changes: dict[str, Any] = field(default_factory=dict)
    nonce: str | None = None
    secret: bytes | None = None

    def __post_init__(self) -> None:
        self.key = self.key or self.member.key

    def ask(self, *, now: float = T0) -> HttpResponse:
        """Send the request."""
        body = asked(self.member, **signed(self.member, **self.changes))
        headers: dict[str, str] = {}
        if self.nonce is not None:
            headers = proof_headers(
                self.member.build,
                "authenticate",
                body,
                credential=self.key,
                now=now,
                nonce=self.nonce,
                secret=self.secret,
            )
        return self.api.post("authenticate", body, credential=self.key, headers=headers)


Condition = Callable[[Scene], None]


def _unknown_key(scene: Scene) -> None:
    scene.key = generate_key("km_live")


def _key(**values: Any) -> Condition:
    return lambda scene: _update(ApiKey.objects.filter(pk=scene.member.api_key.pk), values)


def _customer(**values: Any) -> Condition:
    return lambda scene: _update(Customer.objects.filter(pk=scene.member.id), values)


def _subscription(**values: Any) -> Condition:
    return lambda scene: _update(Subscription.objects.filter(pk=scene.member.id), values)


def _plugin(**values: Any) -> Condition:
    return lambda _: _update(Plugin.objects.filter(pk="api-logger"), values)


def _build(**values: Any) -> Condition:
    return lambda scene: _update(BuildCredential.objects.filter(pk=scene.member.build.id), values)


def _update(rows: Any, values: dict[str, Any]) -> None:
    assert rows.update(**values) == 1


def _lockdown(_: Scene) -> None:
    Lockdown.objects.create(reason="test")


def _other_customer(scene: Scene) -> None:
    scene.changes["customer_id"] = scene.cast.globex.id


def _no_subscription(scene: Scene) -> None:
    Subscription.objects.filter(pk=scene.member.id).delete()


def _plugin_quarantined(_: Scene) -> None:
    quarantine("plugin", plugin="api-logger")


def _unknown_signature(scene: Scene) -> None:
    scene.changes["plugin_signature"] = secrets.token_hex(384)


def _build_quarantined(scene: Scene) -> None:
    quarantine("build", target=scene.member.build.id, customer=scene.member.customer)


def _wrong_proof(scene: Scene) -> None:
    scene.nonce, scene.secret = secrets.token_hex(16), secrets.token_bytes(32)


def _replayed_proof(scene: Scene) -> None:
    scene.nonce = secrets.token_hex(16)
    scene.ask()


def _installation_quarantined(scene: Scene) -> None:
    # Released, so that it needs a place again, and the limit can be what says no.
    row = make_installation(
        scene.member.customer, MACHINE, plugin_id="api-logger", released_at=from_epoch(T0 - 60), lease_until=None
    )
    quarantine("installation", target=row.id, customer=scene.member.customer)


def _no_place(scene: Scene) -> None:
    make_installation(scene.member.customer, "another-machine", plugin_id="api-logger")
    _subscription(installation_limit=1)(scene)
    assert not Installation.objects.filter(fingerprint=MACHINE, released_at=None).exists()


CONDITIONS: Final[dict[str, Condition]] = {
    "API_KEY_INVALID": _unknown_key,
    "API_KEY_EXPIRED": _key(expires_at=from_epoch(T0)),
    "API_KEY_REVOKED": _key(revoked_at=from_epoch(T0)),
    "SCOPE_MISSING": _key(scopes=["usage"]),
    "IP_NOT_ALLOWED": _key(cidrs=["192.0.2.0/24"]),
    "LOCKDOWN": _lockdown,
    "CUSTOMER_MISMATCH": _other_customer,
    "CUSTOMER_SUSPENDED": _customer(suspended_at=from_epoch(T0)),
    "SUBSCRIPTION_NONE": _no_subscription,
    "SUBSCRIPTION_EXPIRED": _subscription(status="expired"),
    "SUBSCRIPTION_PAUSED": _subscription(status="paused"),
    "PLUGIN_UNKNOWN": _plugin(is_private=True),
    "PLUGIN_QUARANTINED": _plugin_quarantined,
    "BUILD_UNKNOWN": _unknown_signature,
    "BUILD_QUARANTINED": _build_quarantined,
    "BUILD_EXPIRED": _build(expires_at=from_epoch(T0)),
    "VERSION_BLOCKED": _plugin(blocked_versions=[VERSION]),
    "TIER_TOO_LOW": _plugin(required_tier="Enterprise"),
    "PROOF_REQUIRED": _plugin(proof="required"),
    "PROOF_INVALID": _wrong_proof,
    "PROOF_REPLAYED": _replayed_proof,
    "INSTALLATION_QUARANTINED": _installation_quarantined,
    "INSTALLATION_LIMIT_REACHED": _no_place,
}
"""Every code an authenticate can be refused with, in the order of DESIGN §5."""

STATUS_401: Final = frozenset({"API_KEY_INVALID", "API_KEY_EXPIRED", "API_KEY_REVOKED"})

_OF_THE_KEY: Final = ("API_KEY_EXPIRED", "API_KEY_REVOKED", "SCOPE_MISSING", "IP_NOT_ALLOWED")
_OF_THE_SUBSCRIPTION: Final = ("SUBSCRIPTION_NONE", "SUBSCRIPTION_EXPIRED", "SUBSCRIPTION_PAUSED")
NEVER_TOGETHER: Final = frozenset(
    {
        *(("API_KEY_INVALID", later) for later in _OF_THE_KEY),  # an unknown key has no such properties
        *((one, other) for one in _OF_THE_SUBSCRIPTION for other in _OF_THE_SUBSCRIPTION),  # one status at a time
        ("SUBSCRIPTION_NONE", "INSTALLATION_LIMIT_REACHED"),  # the limit is the subscription's
        ("BUILD_UNKNOWN", "BUILD_QUARANTINED"),  # about a build that was found
        ("BUILD_UNKNOWN", "BUILD_EXPIRED"),
        ("PROOF_REQUIRED", "PROOF_INVALID"),  # one has no proof, the others have one
        ("PROOF_REQUIRED", "PROOF_REPLAYED"),
        ("PROOF_INVALID", "PROOF_REPLAYED"),  # tests/licensing/api/test_proof.py: too old and used before
    }
)


def later_than(earlier: str) -> list[str]:
    """The codes that come after one and can be true of the same request."""
    names = list(CONDITIONS)
    return [later for later in names[names.index(earlier) + 1 :] if (earlier, later) not in NEVER_TOGETHER]
