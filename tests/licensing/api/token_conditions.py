"""For each code, how to make it the answer about a plugin token: the table that validate's and refresh's tests share.

A `TokenScene` holds a good token of cust_123's api-logger build. As with `conditions`, a condition changes the request
or the state so that one rule says no, and two can be laid on one another, the later code first.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.http import HttpResponse

from accounts.models import ApiKey
from licensing.core.clock import from_epoch
from licensing.models import BuildCredential, Lockdown, Plugin, Subscription
from tests.licensing.api.driver import PluginApi, answer, proof_headers, signed
from tests.licensing.cast import T0, VERSION, Cast, Member, quarantine, sign_out
from tests.licensing.conftest import Clock


@dataclass
class TokenScene:
    """One token and what is asked about it."""

    api: PluginApi
    cast: Cast
    clock: Clock
    member: Member
    token: str = ""
    installation_id: str = ""
    plugin: str = "api-logger"
    nonce: str | None = None
    secret: bytes | None = None

    def __post_init__(self) -> None:
        body = answer(self.api.authenticate(self.member, **signed(self.member)))
        self.token, self.installation_id = body["token"], body["installation_id"]

    def validate(self) -> HttpResponse:
        """Ask what the token is worth."""
        body = {"plugin_name": self.plugin, "plugin_token": self.token}
        return self.api.post("validate", body, credential=self.token, headers=self._headers("validate", body))

    def refresh(self) -> HttpResponse:
        """Ask for a new one."""
        return self.api.post("refresh", credential=self.token, headers=self._headers("refresh", None))

    def _headers(self, endpoint: str, body: object) -> dict[str, str]:
        if self.nonce is None:
            return {}
        # The same nonce for each endpoint would make the second request the first one's replay.
        return proof_headers(
            self.member.build,
            endpoint,
            body,
            credential=self.token,
            now=self.clock.now,
            nonce=f"{self.nonce}-{endpoint}",
            secret=self.secret,
        )


TokenCondition = Callable[[TokenScene], object]


def _another_signature(scene: TokenScene) -> None:
    head, payload, signature = scene.token.split(".")
    scene.token = f"{head}.{payload}.{('B' if signature[0] == 'A' else 'A') + signature[1:]}"


def _at(now: float) -> TokenCondition:
    return lambda scene: setattr(scene.clock, "now", now)


def _signed_out(scene: TokenScene) -> None:
    sign_out(scene.member.customer, "installation", scene.installation_id)


def _other_plugin(scene: TokenScene) -> None:
    scene.plugin = "console-logger"


def _key(**values: Any) -> TokenCondition:
    return lambda scene: _update(ApiKey.objects.filter(pk=scene.member.api_key.pk), values)


def _subscription(**values: Any) -> TokenCondition:
    return lambda scene: _update(Subscription.objects.filter(pk=scene.member.id), values)


def _plugin(**values: Any) -> TokenCondition:
    return lambda _: _update(Plugin.objects.filter(pk="api-logger"), values)


def _update(rows: Any, values: dict[str, Any]) -> None:
    assert rows.update(**values) == 1


def _suspended(scene: TokenScene) -> None:
    quarantine("customer", target=scene.member.id, customer=scene.member.customer)


def _wrong_proof(scene: TokenScene) -> None:
    scene.nonce, scene.secret = secrets.token_hex(16), secrets.token_bytes(32)


def _replayed_proof(scene: TokenScene) -> None:
    scene.nonce = secrets.token_hex(16)
    scene.validate()
    scene.refresh()


TOKEN_CONDITIONS: Final[dict[str, TokenCondition]] = {
    "TOKEN_INVALID": _another_signature,
    "TOKEN_EXPIRED": _at(T0 + 900),
    "TOKEN_REVOKED": _signed_out,
    "PLUGIN_MISMATCH": _other_plugin,
    "API_KEY_EXPIRED": _key(expires_at=from_epoch(T0)),
    "SCOPE_MISSING": _key(scopes=["usage"]),
    "IP_NOT_ALLOWED": _key(cidrs=["192.0.2.0/24", "2001:db8::/32"]),
    "LOCKDOWN": lambda _: Lockdown.objects.create(),
    "CUSTOMER_SUSPENDED": _suspended,
    "SUBSCRIPTION_NONE": lambda scene: Subscription.objects.filter(pk=scene.member.id).delete(),
    "SUBSCRIPTION_EXPIRED": _subscription(status="canceled", period_end=from_epoch(T0)),
    "SUBSCRIPTION_PAUSED": _subscription(status="paused"),
    "PLUGIN_UNKNOWN": _plugin(is_private=True),
    "PLUGIN_QUARANTINED": lambda _: quarantine("version", plugin="api-logger", target=VERSION),
    "BUILD_QUARANTINED": lambda scene: quarantine(
        "build", target=scene.member.build.id, customer=scene.member.customer
    ),
    "VERSION_BLOCKED": _plugin(minimum_version="2.1.1"),
    "TIER_TOO_LOW": _plugin(required_tier="Enterprise"),
    "PROOF_REQUIRED": _plugin(proof="required"),
    "PROOF_INVALID": _wrong_proof,
    "PROOF_REPLAYED": _replayed_proof,
    "INSTALLATION_QUARANTINED": lambda scene: quarantine(
        "installation", target=scene.installation_id, customer=scene.member.customer
    ),
}
"""Every code that both validate and refresh say no with, in order."""

REFRESH_ONLY: Final[dict[str, TokenCondition]] = {
    "BUILD_UNKNOWN": lambda scene: BuildCredential.objects.filter(pk=scene.member.build.id).delete(),
    "BUILD_EXPIRED": lambda scene: BuildCredential.objects.filter(pk=scene.member.build.id).update(
        expires_at=from_epoch(T0)
    ),
}
"""A token names its build, which is looked up only where a successor is minted."""

STATUS_401: Final = frozenset({"TOKEN_INVALID", "TOKEN_EXPIRED", "TOKEN_REVOKED", "API_KEY_EXPIRED"})

_OF_THE_SUBSCRIPTION: Final = ("SUBSCRIPTION_NONE", "SUBSCRIPTION_EXPIRED", "SUBSCRIPTION_PAUSED")
_OF_THE_PROOF: Final = ("PROOF_REQUIRED", "PROOF_INVALID", "PROOF_REPLAYED")
NEVER_TOGETHER: Final = frozenset(
    {
        *((one, other) for one in _OF_THE_SUBSCRIPTION for other in _OF_THE_SUBSCRIPTION),  # one status at a time
        *((one, other) for one in _OF_THE_PROOF for other in _OF_THE_PROOF),  # none, a wrong one, or a right one
        ("SUBSCRIPTION_NONE", "SUBSCRIPTION_EXPIRED"),
    }
)


def later_than(earlier: str) -> list[str]:
    """The codes that come after one and can be true of the same token."""
    names = list(TOKEN_CONDITIONS)
    return [later for later in names[names.index(earlier) + 1 :] if (earlier, later) not in NEVER_TOGETHER]
