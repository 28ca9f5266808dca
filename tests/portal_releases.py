"""Releases, builds and registry tokens of the portal's cast: rows alone, no files and no compiler behind them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from accounts.models import ApiKey, Customer
from build_farm.models import Build
from licensing.core.actor import system
from licensing.core.ids import new_id
from licensing.models import Entitlement, Feature
from registry.models import Artifact, Channel, CustomerPolicy, Release, StoredFile
from registry.services.registry_tokens import issue_registry_token, revoke_registry_token
from registry.services.visitors import FEATURE
from tests.registry.cast import certificate

ACTOR = system("tests")
HOSTILE = "<img src=x onerror=alert(1)><script>alert(1)</script>"
TARGETS = ["darwin/arm64", "linux/amd64", "linux/arm64"]
NOTES = f"""## What is new

* Ships **events in batches**, see [the guide](https://vendor.example/guide)
* Reads `LOG_LEVEL` from the environment
* {HOSTILE}
* [a trap](javascript:alert(1))
"""
LOG = f"""# example.com/api-logger
./shipper.go:41:17: undefined: batchSize
./shipper.go:58:9: cannot use x (variable of type {HOSTILE}) as string value in return statement
the compiler ended with exit code 1
"""


@dataclass
class Shop:
    """What was made: a value for each part of a URL, and further looks of pages that have several."""

    names: dict[str, str] = field(default_factory=dict)
    others: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """(name of the page, parts of its URL that differ)."""


def load_shop(acme: Customer, key: ApiKey, now: datetime) -> Shop:
    """Make releases of both plugins, builds in several states, tokens and a policy of an organisation."""
    current = _release("api-logger", "2.1.0", now - timedelta(days=3), built=True, notes=NOTES)
    beta = _release("api-logger", "2.2.0-beta.1", now - timedelta(hours=5), built=True, channels=["beta"])
    old = _release(
        "api-logger", "2.0.0", now - timedelta(days=90), built=True, yanked_reason=f"It loses events. {HOSTILE}"
    )
    ready_made = _release("analytics", "1.4.0", now - timedelta(days=30))
    for release, channel in ((current, "stable"), (beta, "beta"), (ready_made, "stable")):
        Channel.objects.create(plugin_id=release.plugin_id, name=channel, head=release, moved_at=release.published_at)
    _artifact(ready_made, None)
    builds = {
        "published": _published(current, acme, key, now),
        "building": _build(current, acme, "linux/arm64", "building", now, claimed_at=now, api_key_id=key.pk, attempt=2),
        "queued": _build(beta, acme, "linux/amd64", "queued", now),
        "failed": _build(
            old, acme, "darwin/arm64", "failed", now - timedelta(days=1), claimed_at=now, api_key_id=key.pk, log=LOG,
            failure="The compiler ended with exit code 1.", finished_at=now, tier="Pro", timings={"queued": 0.4},
        ),
        "cancelled": _build(old, acme, "linux/amd64", "cancelled", now - timedelta(days=2), finished_at=now),
    }  # fmt: skip
    token_id, revoked_id = _tokens(acme, now)
    CustomerPolicy.objects.create(
        customer=acme, blocked_plugins=["old-exporter"], version_pins={"analytics": "1"}, version=3, updated_at=now
    )
    names = {
        "version": "2.1.0", "channel": "stable", "build_id": builds["building"].pk, "batch": "bat_1",
        "token_id": token_id,
    }  # fmt: skip
    others = [("own-build", {"build_id": row.pk}) for state, row in builds.items() if state != "building"]
    others += [
        ("plugin-release", {"plugin": "api-logger", "version": "2.0.0"}),
        ("plugin-release", {"plugin": "analytics", "version": "1.4.0"}),
        ("plugin-release-download", {"plugin": "api-logger", "version": "2.2.0-beta.1"}),
        ("own-registry-token", {"token_id": revoked_id}),
    ]
    return Shop(names, others)


def _release(plugin: str, version: str, at: datetime, *, built: bool = False, **fields: Any) -> Release:
    yanked = {"yanked_at": at + timedelta(days=1)} if fields.get("yanked_reason") else {}
    return Release.objects.create(
        id=new_id("rel"), plugin_id=plugin, version=version, state="published", published_at=at, created_by="tests",
        source=_file(f"{plugin} {version} source") if built else None, build_targets=TARGETS if built else [],
        **{"channels": ["stable"], "notes": "", **yanked, **fields},
    )  # fmt: skip


def _file(text: str) -> StoredFile:
    content = text.encode()
    from datetime import UTC, datetime

    return StoredFile.objects.create(
        sha256=hashlib.sha256(content).hexdigest(), size=4_718_592 + len(content), put_at=datetime.now(UTC)
    )


def _artifact(release: Release, customer: Customer | None, *, build_id: str = "") -> Artifact:
    return Artifact.objects.create(
        id=new_id("art"), release=release, target="linux/amd64", customer=customer, build_id=build_id,
        kind="farm" if build_id else "prebuilt", file=_file(f"{release} {build_id}"),
        filename=f"{release.plugin_id}-{release.version}-linux-amd64.kmpkg", signature=b"s" * 384,
        certificate=certificate(),
    )  # fmt: skip


def _build(release: Release, acme: Customer, target: str, state: str, at: datetime, **fields: Any) -> Build:
    return Build.objects.create(
        id=new_id("bld"), release=release, customer=acme, target=target, state=state, created_at=at,
        created_by="tests", **fields,
    )  # fmt: skip


def _published(release: Release, acme: Customer, key: ApiKey, now: datetime) -> Build:
    build_id = new_id("bld")
    return Build.objects.create(
        id=build_id, release=release, customer=acme, target="linux/amd64", state="published", created_by="tests",
        created_at=now - timedelta(hours=2), claimed_at=now - timedelta(hours=2), finished_at=now - timedelta(hours=2),
        artifact=_artifact(release, acme, build_id=build_id), sealed_secret=b"sealed", binary_size=6_291_456,
        binary_sha256=hashlib.sha256(b"binary").hexdigest(), api_key_id=key.pk, tier="Pro",
        features=["api_logging", "history_days"], toolchain="go1.27", kit_version="1.4.0",
        timings={"queued": 0.412, "build": 3.872, "compile": 3.41, "sign": 0.204, "total": 4.731},
    )  # fmt: skip


def _tokens(acme: Customer, now: datetime) -> tuple[str, str]:
    Feature.objects.get_or_create(code=FEATURE)
    Entitlement.objects.create(id=new_id("ent"), customer=acme, feature_id=FEATURE, kind="override")
    live = issue_registry_token(
        customer=acme, name=f"CI {HOSTILE}", expires_at=now + timedelta(days=90), plugins=["api-logger"],
        max_downloads=500, max_bytes=50 * 1024**3, actor=ACTOR, now=now,
    ).row  # fmt: skip
    live.downloads_used, live.bytes_used, live.last_used_at = 412, 9 * 1024**3, now
    live.save()
    over = issue_registry_token(
        customer=acme, name="Old laptop", expires_at=now + timedelta(days=30), actor=ACTOR, now=now
    ).row
    revoke_registry_token(row=over, actor=ACTOR, now=now, reason="lost")
    return live.pk, over.pk
