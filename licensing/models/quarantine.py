"""What takes access away by state: quarantines, and generations that outdate tokens already handed out."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now

from accounts.models import Customer


class Quarantine(models.Model):
    """One thing that is not to be trusted, since `created_at` and until `lifted_at`."""

    class Scope(models.TextChoices):
        """What `target` names: a version, an artifact's SHA-256, or an id."""

        PLUGIN = "plugin"
        VERSION = "version"
        ARTIFACT = "artifact"
        BUILD = "build"
        INSTALLATION = "installation"
        CUSTOMER = "customer"

    id = models.CharField(max_length=40, primary_key=True)
    scope = models.CharField(max_length=12, choices=Scope)
    plugin_name = models.CharField(max_length=64)
    target = models.CharField(max_length=128, blank=True)
    customer = models.ForeignKey(
        Customer,
        on_delete=models.CASCADE,
        null=True,
        related_name="quarantines",
        help_text="Set where one customer alone is concerned; null for the catalogue's.",
    )
    reason = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.CharField(max_length=80)
    lifted_at = models.DateTimeField(null=True)
    lifted_by = models.CharField(max_length=80, blank=True)

    class Meta:
        db_table = "quarantine"
        indexes: ClassVar = [
            models.Index(
                fields=["customer", "scope"],
                name="quarantine_in_force",
                condition=models.Q(lifted_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.scope} {self.plugin_name} {self.target}"


class Generation(models.Model):
    """How often a customer, key or installation was signed out; 0, and no row, until first needed.

    Tokens carry the number they were minted under and are good only while it is still that one (DESIGN §6).
    """

    class Kind(models.TextChoices):
        """What `subject_id` names."""

        CUSTOMER = "customer"
        KEY = "key"
        INSTALLATION = "installation"

    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="generations")
    kind = models.CharField(max_length=12, choices=Kind)
    subject_id = models.CharField(max_length=63)
    value = models.PositiveIntegerField(default=1)

    class Meta:
        db_table = "generation"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["customer", "kind", "subject_id"], name="generation_once"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject_id}: {self.value}"
