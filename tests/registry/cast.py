"""The registry's cast: a Pro and an Enterprise customer, public and private plugins, and ways to publish files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.http.response import HttpResponseBase
from django.test import Client

from accounts.models import SCOPES, ApiKey, Customer
from accounts.services.api_keys import issue_api_key
from accounts.services.customers import create_customer
from licensing.core.actor import system
from licensing.models import Feature, Plugin, PluginAccess, Subscription, Tier, TierGrant
from licensing.services.subscriptions import set_subscription
from registry.models import Artifact, RegistryToken, Release
from registry.services.artifacts import add_artifact
from registry.services.registry_tokens import issue_registry_token
from registry.services.releases import create_release, publish_release
from registry.storage import ArtifactStore, Stored

ACTOR = system("tests")
TARGET = "linux/amd64"
PUBLIC, PREMIUM, PRIVATE, OTHERS = "api-logger", "compliance", "globex-reporter", "acme-reporter"
MIB = 1024 * 1024


@dataclass
class Member:
    """A customer, its API key and its registry token."""

    customer: Customer
    api_key: ApiKey
    key: str = field(repr=False)
    registry_token: RegistryToken | None = None
    pat: str = field(default="", repr=False)

    @property
    def id(self) -> str:
        return self.customer.id


@dataclass
class Cast:
    """`acme` is Pro, `globex` Enterprise with a registry of its own, and so is `initech`."""

    acme: Member
    globex: Member
    initech: Member


def load_cast() -> Cast:
    """Customers, tiers and plugins; nothing is released yet."""
    for code in ("api_logging", "private_repository"):
        Feature.objects.create(code=code)
    for name, rank in (("Free", 0), ("Pro", 10), ("Enterprise", 20)):
        Tier.objects.create(name=name, rank=rank)
    TierGrant.objects.create(tier_id="Enterprise", feature_id="private_repository")
    for name, tier, is_private in (
        (PUBLIC, "Free", False),
        (PREMIUM, "Enterprise", False),
        (PRIVATE, "Enterprise", True),
        (OTHERS, "Enterprise", True),
    ):
        Plugin.objects.create(
            name=name, description=f"The {name}.", required_tier_id=tier, is_private=is_private, accepts_unsigned=True
        )
    acme, globex, initech = (
        member("cust_123", "Pro"),
        member("enterprise_456", "Enterprise"),
        member("initech_1", "Enterprise"),
    )
    PluginAccess.objects.create(plugin_id=PRIVATE, customer=globex.customer)
    PluginAccess.objects.create(plugin_id=OTHERS, customer=initech.customer)
    return Cast(acme, globex, initech)


def member(customer_id: str, tier: str) -> Member:
    """A customer with a subscription, a key of all scopes and, for Enterprise, a registry token."""
    now = datetime.now(UTC)
    customer = create_customer(customer_id=customer_id, name=customer_id.title(), actor=ACTOR)
    set_subscription(
        customer=customer,
        tier=Tier.objects.get(pk=tier),
        actor=ACTOR,
        status=Subscription.Status.ACTIVE,
        period_start=now,
        period_end=now + timedelta(days=30),
    )
    issued = issue_api_key(customer=customer, name="tests", actor=ACTOR, scopes=SCOPES)
    made = Member(customer, issued.api_key, issued.key)
    if tier == "Enterprise":
        token = token_of(made)
        made.registry_token, made.pat = token.row, token.token
    return made


def token_of(owner: Member, **options: Any) -> Any:
    """A registry token for a day."""
    now = datetime.now(UTC)
    values = {"name": "ci", "expires_at": now + timedelta(days=1), "actor": ACTOR, "now": now} | options
    return issue_registry_token(customer=owner.customer, **values)


def put(store: ArtifactStore, content: bytes) -> Stored:
    """Put bytes into the store."""
    return store.put_stream(iter([content]), max_bytes=1024 * MIB)


def certificate() -> bytes:
    """A certificate that can be shown."""
    from datetime import UTC, datetime

    from licensing.crypto.authority import PluginAuthority

    if not _certificates:
        _certificates.append(PluginAuthority.create(now=datetime.now(UTC)).certificate_der)
    return _certificates[0]


_certificates: list[bytes] = []


def draft(store: ArtifactStore, plugin: str, version: str, **options: Any) -> Release:
    """A draft of a release."""
    values: dict[str, Any] = {"actor": ACTOR, "now": datetime.now(UTC), "store": store} | options
    return create_release(plugin=Plugin.objects.get(pk=plugin), version=version, **values)


def add(store: ArtifactStore, release: Release, content: bytes, *, target: str = TARGET, **options: Any) -> Artifact:
    """Add a signed file to a release."""
    values: dict[str, Any] = {
        "kind": Artifact.Kind.PREBUILT,
        "filename": f"{release.plugin_id}-{release.version}.kmpkg",
        "signature": b"s" * 384,
        "certificate": certificate(),
        "actor": ACTOR,
        "now": datetime.now(UTC),
        "store": store,
    } | options
    return add_artifact(release=release, target=target, stored=put(store, content), **values)


def publish(
    store: ArtifactStore,
    plugin: str,
    version: str,
    *,
    content: bytes | None = None,
    channels: Iterable[str] = ("stable",),
) -> Artifact:
    """A published release with one public file for linux/amd64."""
    release = draft(store, plugin, version, channels=channels)
    artifact = add(store, release, content_of(plugin, version) if content is None else content)
    publish_release(release=release, actor=ACTOR, now=datetime.now(UTC), require_installation=False)
    artifact.refresh_from_db()
    return artifact


def content_of(plugin: str, version: str) -> bytes:
    """Some bytes that are a release's own: 100,000 or so."""
    seed = f"{plugin} {version} ".encode()
    return (seed * (100_000 // len(seed) + 1))[:100_003]


def store_environment(settings: Any) -> dict[str, str]:
    """The settings of the present store, as another process is told them."""
    names = ("DIR", "S3_BUCKET", "S3_ENDPOINT", "S3_REGION", "S3_ACCESS_KEY", "S3_SECRET_KEY")
    return {f"ARTIFACT_{name}": str(getattr(settings, f"ARTIFACT_{name}") or "") for name in names}


class Host:
    """A plugin host: asks the registry with one credential."""

    def __init__(self, credential: str = "") -> None:
        self.credential = credential
        self.client = Client(raise_request_exception=False)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> HttpResponseBase:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.credential and not path.startswith("/files/"):
            sent.setdefault("Authorization", f"Bearer {self.credential}")
        content = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
        return self.client.generic(method, path, headers=sent, **content)

    def get(self, path: str, **headers: str) -> HttpResponseBase:
        return self.send("GET", path, **headers)

    def ask(self, plugin: str, version: str, target: str = TARGET, **headers: str) -> HttpResponseBase:
        """Ask for a download."""
        system_name, _, arch = target.partition("/")
        path = f"/api/registry/plugins/{plugin}/releases/{version}/download"
        return self.send("POST", path, {"os": system_name, "arch": arch}, **headers)

    def url(self, plugin: str, version: str, target: str = TARGET) -> str:
        """The path of a download URL that was just handed out."""
        response = self.ask(plugin, version, target)
        assert response.status_code == 200, body_of(response)
        url: str = json_of(response)["url"]
        return url.removeprefix("http://testserver")

    def fetch(self, path: str, **headers: str) -> HttpResponseBase:
        """Use a download URL."""
        return self.send("GET", path, **headers)


def body_of(response: HttpResponseBase) -> bytes:
    """All of an answer's body; the answer is over then."""
    if response.streaming:
        return b"".join(response)  # type: ignore[call-overload]
    return bytes(response.content)  # type: ignore[attr-defined]


def cut(response: HttpResponseBase) -> bytes:
    """Read the first piece of a streamed answer, then vanish as a client does."""
    pieces = response._iterator  # type: ignore[attr-defined]
    piece = bytes(next(pieces))
    pieces.close()
    return piece


def json_of(response: HttpResponseBase) -> dict[str, Any]:
    """The JSON object of an answer."""
    found: dict[str, Any] = json.loads(body_of(response))
    return found


def sha256(content: bytes) -> str:
    """Hex SHA-256."""
    return hashlib.sha256(content).hexdigest()


def now() -> datetime:
    """The present instant."""
    return datetime.now(UTC)
