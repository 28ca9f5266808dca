"""Builds: the queue, where each stands, and everything that shaped its bytes (DESIGN §8)."""

from typing import ClassVar, Final

from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Now

from accounts.models import Customer
from registry.models import TARGET_PATTERN, Artifact, Release


class Build(models.Model):
    """One release compiled for one customer and one target.

    The inputs are written when the build is prepared and never again. `constants` are readable while the build worker,
    which holds no key, needs them; afterwards they are in `sealed_constants` alone.
    """

    class State(models.TextChoices):
        """queued → building → signing → published; failed, cancelled or superseded from any of these."""

        QUEUED = "queued"
        BUILDING = "building"
        SIGNING = "signing"
        PUBLISHED = "published"
        FAILED = "failed"
        CANCELLED = "cancelled"
        SUPERSEDED = "superseded"

    class Priority(models.TextChoices):
        """Somebody waits for an interactive one. Sorts as it is served."""

        INTERACTIVE = "interactive"
        MASS = "mass"

    id = models.CharField(max_length=40, primary_key=True)
    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="builds")
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="builds")
    target = models.CharField(max_length=32, validators=[RegexValidator(TARGET_PATTERN)])
    state = models.CharField(max_length=10, choices=State, default=State.QUEUED)
    priority = models.CharField(max_length=11, choices=Priority, default=Priority.INTERACTIVE)
    batch = models.CharField(max_length=40, blank=True, help_text="The mass rebuild it belongs to.")
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.CharField(max_length=80)
    wanted_key_id = models.CharField(max_length=40, blank=True, help_text="The API key asked for; empty: the oldest.")

    # -- Who is at it
    attempt = models.PositiveSmallIntegerField(default=0, help_text="How often the present stage was begun.")
    not_before = models.DateTimeField(null=True, help_text="When the next attempt may begin; null: now.")
    lease_owner = models.CharField(max_length=80, blank=True)
    lease_until = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True)

    # -- When
    prepared_at = models.DateTimeField(null=True)
    claimed_at = models.DateTimeField(null=True, help_text="When a build worker first took it: for fairness.")
    finished_at = models.DateTimeField(null=True)
    timings = models.JSONField(default=dict, help_text="Seconds of each stage.")

    # -- What shaped the bytes
    api_key_id = models.CharField(max_length=40, blank=True)
    tier = models.CharField(max_length=32, blank=True)
    features = ArrayField(models.CharField(max_length=63), default=list)
    constants = models.JSONField(null=True, editable=False)
    sealed_constants = models.BinaryField(null=True, editable=False)
    sealed_secret = models.BinaryField(null=True, editable=False)
    build_time = models.DateTimeField(null=True, help_text="The instant inside the binary, a whole second.")
    source_sha256 = models.CharField(max_length=64, blank=True)
    kit_version = models.CharField(max_length=32, blank=True)
    kit_digest = models.CharField(max_length=64, blank=True)
    toolchain = models.CharField(max_length=64, blank=True)

    # -- What came of it
    binary_sha256 = models.CharField(max_length=64, blank=True)
    binary_size = models.PositiveBigIntegerField(null=True)
    binary_object_version = models.CharField(max_length=1024, blank=True)
    log = models.TextField(blank=True)
    failure = models.CharField(max_length=500, blank=True, help_text="Why it failed, in a sentence for the customer.")
    artifact = models.OneToOneField(Artifact, on_delete=models.SET_NULL, null=True, related_name="build")
    superseded_by = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, related_name="supersedes")

    class Meta:
        db_table = "build"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["release", "customer", "target"],
                condition=models.Q(state__in=["queued", "building", "signing"]),
                name="build_live_once",
            ),
            models.UniqueConstraint(
                fields=["release", "customer", "target"],
                condition=models.Q(state="published"),
                name="build_published_once",
            ),
            models.CheckConstraint(
                condition=models.Q(
                    state__in=["queued", "building", "signing", "published", "failed", "cancelled", "superseded"]
                ),
                name="build_state_known",
            ),
            models.CheckConstraint(
                condition=models.Q(priority__in=["interactive", "mass"]), name="build_priority_known"
            ),
            models.CheckConstraint(
                condition=~models.Q(state="published")
                | models.Q(sealed_secret__isnull=False, binary_size__isnull=False, constants__isnull=True),
                name="build_published_whole",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["priority", "created_at"], name="build_waiting", condition=models.Q(state="queued")),
            models.Index(
                fields=["lease_until"], name="build_at_work", condition=models.Q(state__in=["building", "signing"])
            ),
            models.Index(fields=["customer", "-created_at"], name="build_of_customer"),
            models.Index(fields=["customer", "-claimed_at"], name="build_last_served"),
            models.Index(fields=["batch"], name="build_of_batch", condition=~models.Q(batch="")),
            models.Index(
                fields=["state", "-finished_at"], name="build_ended", condition=models.Q(finished_at__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id} ({self.state})"

    @property
    def is_live(self) -> bool:
        """Whether it is still on its way."""
        return self.state in LIVE

    @property
    def system(self) -> str:
        """The operating system it is for."""
        return self.target.partition("/")[0]


LIVE: Final = (Build.State.QUEUED, Build.State.BUILDING, Build.State.SIGNING)
