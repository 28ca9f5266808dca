"""What is asked of the build farm and what it shows."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from build_farm.models import Build, SourceArchive
from build_farm.selectors import Progress
from licensing.core.api.shapes import Asked, Instant, ListQuery, Shown
from licensing.core.json_body import whole
from licensing.models import PLUGIN_NAME_PATTERN
from registry.api.manage_shapes import ManagedReleaseShown, Version

LOG_TAIL_CHARACTERS = 4000
Target = Annotated[str, Meta(pattern=whole(r"[a-z0-9]{1,15}/[a-z0-9_]{1,15}"), examples=["linux/amd64"])]
PluginName = Annotated[str, Meta(pattern=whole(PLUGIN_NAME_PATTERN.strip("^$")), examples=["api-logger"])]
Id = Annotated[str, Meta(max_length=40)]
StateName = Literal["queued", "building", "signing", "published", "failed", "cancelled", "superseded"]


class BuildAsked(Asked):
    """A build to make, for `api_key_id` or else the customer's oldest live key.

    With `again` it is made even where there is one.
    """

    plugin: PluginName
    version: Version
    target: Target
    api_key_id: Id = ""
    again: bool = False


class ManagedBuildAsked(BuildAsked, kw_only=True):
    """A build to make for a customer."""

    customer_id: Annotated[str, Meta(max_length=63, examples=["cust_123"])]


class RebuildAsked(Asked):
    """What to make anew: everything of a customer, or a release for every customer that has its plugin."""

    customer_id: Annotated[str, Meta(max_length=63)] = ""
    plugin: Annotated[str, Meta(max_length=64)] = ""
    version: Annotated[str, Meta(max_length=64)] = ""


class BuildQuery(ListQuery, kw_only=True):
    """Which builds."""

    state: StateName | None = None
    plugin: Annotated[str, Meta(max_length=64)] = ""


class ManagedBuildQuery(BuildQuery, kw_only=True):
    """Which builds, of whom."""

    customer_id: Annotated[str, Meta(max_length=63)] = ""
    batch: Id = ""


class BuildShown(Shown):
    """A build. `position` is how many are served before it; `log` is the end of the compiler's log."""

    id: str
    plugin: str
    version: str
    target: str
    state: str
    priority: str
    position: int | None
    attempt: int
    tier: str
    features: list[str]
    api_key_id: str
    binary_sha256: str
    artifact_id: str | None
    failure: str
    log: str
    timings: dict[str, float]
    created_at: Instant
    finished_at: Instant | None

    @classmethod
    def of(cls, row: Build, *, position: int | None = None, with_log: bool = False) -> "BuildShown":
        """Show it; lists leave the log out."""
        return cls(**_shown(row, position=position, with_log=with_log))


class ManagedBuildShown(BuildShown, kw_only=True):
    """A build as operators see it."""

    customer_id: str
    batch: str
    created_by: str
    lease_owner: str
    heartbeat_at: datetime | None
    source_sha256: str
    kit_version: str
    kit_digest: str
    toolchain: str

    @classmethod
    def of(cls, row: Build, *, position: int | None = None, with_log: bool = False) -> "ManagedBuildShown":
        """Show it; lists leave the log out."""
        return cls(
            **_shown(row, position=position, with_log=with_log),
            customer_id=row.customer_id,
            batch=row.batch,
            created_by=row.created_by,
            lease_owner=row.lease_owner,
            heartbeat_at=row.heartbeat_at,
            source_sha256=row.source_sha256,
            kit_version=row.kit_version,
            kit_digest=row.kit_digest,
            toolchain=row.toolchain,
        )


class ProgressShown(Shown):
    """How far a mass rebuild is; `joined` were on their way before it."""

    batch: str
    total: int
    by_state: dict[str, int]
    seconds_left: float | None
    joined: int = 0

    @classmethod
    def of(cls, found: Progress, *, joined: int = 0) -> "ProgressShown":
        """Show it."""
        return cls(
            batch=found.batch,
            total=found.total,
            by_state=found.by_state,
            seconds_left=found.seconds_left,
            joined=joined,
        )


class UploadQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How to take a source in. `channels` are separated by commas."""

    channels: Annotated[str, Meta(max_length=300)] = "stable"
    notes: Annotated[str, Meta(max_length=4000)] = ""
    require_installation: bool = True
    refuse_undeclared: bool = False
    draft: bool = False


class UploadedShown(Shown):
    """The release that was made of a source, and what was found in it: capability → places that show it."""

    release: ManagedReleaseShown
    capabilities: dict[str, list[str]]
    undeclared: list[str]

    @classmethod
    def of(cls, release: ManagedReleaseShown, source: SourceArchive) -> "UploadedShown":
        """Show it."""
        return cls(release=release, capabilities=source.capabilities, undeclared=source.undeclared)


def _shown(row: Build, *, position: int | None, with_log: bool) -> dict[str, Any]:
    return {
        "id": row.id,
        "plugin": row.release.plugin_id,
        "version": row.release.version,
        "target": row.target,
        "state": row.state,
        "priority": row.priority,
        "position": position,
        "attempt": row.attempt,
        "tier": row.tier,
        "features": list(row.features),
        "api_key_id": row.api_key_id,
        "binary_sha256": row.binary_sha256,
        "artifact_id": row.artifact_id,
        "failure": row.failure,
        "log": row.log[-LOG_TAIL_CHARACTERS:] if with_log else "",
        "timings": row.timings,
        "created_at": row.created_at,
        "finished_at": row.finished_at,
    }
