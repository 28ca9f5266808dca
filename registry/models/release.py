"""Releases: the versions of a plugin, the channels they are offered in, and builds that were asked for."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Now

from accounts.models import Customer
from licensing.models import Plugin

CHANNEL_PATTERN = r"^[a-z][a-z0-9-]{0,31}$"


class Release(models.Model):
    """One version of a plugin. A draft is nobody's business; once published its public files never change."""

    class State(models.TextChoices):
        """draft → published, once and for good; what may be offered is told by `yanked_at` and quarantines."""

        DRAFT = "draft"
        PUBLISHED = "published"

    id = models.CharField(max_length=40, primary_key=True)
    plugin = models.ForeignKey(Plugin, on_delete=models.PROTECT, related_name="releases")
    version = models.CharField(max_length=64, help_text="Semantic version, canonical, without build metadata.")
    state = models.CharField(max_length=9, choices=State, default=State.DRAFT)
    channels = ArrayField(
        models.CharField(max_length=32, validators=[RegexValidator(CHANNEL_PATTERN)]),
        help_text="Where it is offered once published, such as `stable`.",
    )
    notes = models.TextField(blank=True, help_text="Release notes in Markdown, as written.")
    source = models.ForeignKey(
        "registry.StoredFile",
        on_delete=models.PROTECT,
        null=True,
        related_name="releases",
        help_text="The source archive that customers' builds are made from; null: prebuilt files alone.",
    )
    build_targets = ArrayField(
        models.CharField(max_length=32),
        default=list,
        help_text="What can be built from the source on demand, such as linux/amd64.",
    )
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.CharField(max_length=80)
    published_at = models.DateTimeField(null=True)
    yanked_at = models.DateTimeField(null=True, help_text="Not offered since; still fetched by exact version.")
    yanked_reason = models.CharField(max_length=500, blank=True)

    class Meta:
        db_table = "release"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["plugin", "version"], name="release_version_once"),
            models.CheckConstraint(condition=models.Q(state__in=["draft", "published"]), name="release_state_known"),
            models.CheckConstraint(
                condition=models.Q(state="draft", published_at__isnull=True)
                | models.Q(state="published", published_at__isnull=False),
                name="release_published_when",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.plugin_id} {self.version}"

    @property
    def is_published(self) -> bool:
        """Whether customers may know of it."""
        return self.state == self.State.PUBLISHED

    @property
    def is_yanked(self) -> bool:
        """Whether it is no longer offered."""
        return self.yanked_at is not None


class Channel(models.Model):
    """What a channel of a plugin offers now: one release, moved by publishing and by rolling back."""

    plugin = models.ForeignKey(Plugin, on_delete=models.CASCADE, related_name="channels")
    name = models.CharField(max_length=32, validators=[RegexValidator(CHANNEL_PATTERN)])
    head = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="+")
    previous = models.ForeignKey(Release, on_delete=models.PROTECT, null=True, related_name="+")
    moved_at = models.DateTimeField()

    class Meta:
        db_table = "release_channel"
        constraints: ClassVar = [models.UniqueConstraint(fields=["plugin", "name"], name="release_channel_once")]

    def __str__(self) -> str:
        return f"{self.plugin_id} {self.name}"


class RequestedBuild(models.Model):
    """Somebody asked to download what is not built for its customer yet: where it waits, and how that went.

    The build farm hears of it through the outbox (`build.requested`) and writes `status`; an artifact that arrives
    makes it `ready` by itself.
    """

    class Status(models.TextChoices):
        """requested → building → ready or failed."""

        REQUESTED = "requested"
        BUILDING = "building"
        READY = "ready"
        FAILED = "failed"

    id = models.CharField(max_length=40, primary_key=True)
    release = models.ForeignKey(Release, on_delete=models.CASCADE, related_name="requested_builds")
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="requested_builds")
    target = models.CharField(max_length=32)
    status = models.CharField(max_length=9, choices=Status, default=Status.REQUESTED)
    detail = models.CharField(
        max_length=500, blank=True, help_text="For the customer: why it failed, or how far it is."
    )
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "requested_build"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["release", "customer", "target"],
                condition=models.Q(status__in=["requested", "building"]),
                name="requested_build_once",
            ),
            models.CheckConstraint(
                condition=models.Q(status__in=["requested", "building", "ready", "failed"]),
                name="requested_build_status_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id} ({self.status})"
