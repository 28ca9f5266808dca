"""What a customer wants its plugin hosts to obey, and the signed text that says so."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models

from accounts.models import Customer


class CustomerPolicy(models.Model):
    """A customer's policy (the seed's `km-config.yaml`). Without a row the strict defaults hold."""

    class Verification(models.TextChoices):
        """What a host does with a plugin that does not verify: refuses it, warns, or does not look."""

        STRICT = "strict"
        WARN = "warn"
        OFF = "off"

    customer = models.OneToOneField(
        Customer, on_delete=models.CASCADE, primary_key=True, related_name="registry_policy"
    )
    plugin_verification = models.CharField(max_length=6, choices=Verification, default=Verification.STRICT)
    allow_unsigned = models.BooleanField(default=False)
    allowed_sources = ArrayField(models.CharField(max_length=200), default=list)
    blocked_plugins = ArrayField(models.CharField(max_length=64), default=list)
    auto_update = models.BooleanField(default=False)
    version_pins = models.JSONField(default=dict, help_text="Plugin → version, or its leading parts (`2` or `2.1`).")
    version = models.PositiveIntegerField(default=1, help_text="One more with each change.")
    updated_at = models.DateTimeField()

    class Meta:
        db_table = "customer_policy"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(plugin_verification__in=["strict", "warn", "off"]),
                name="customer_policy_verification_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.customer_id} version {self.version}"


class SignedPolicy(models.Model):
    """The newest policy text of a customer that was signed. Only `sign` writes here.

    The customer is no Django relation: removing a customer is done as `web`, which may delete nothing here; the
    database's own foreign key does it (see the migration).
    """

    customer_id = models.CharField(max_length=63, primary_key=True)
    version = models.PositiveIntegerField()
    text = models.TextField(help_text="The JSON text, exactly as signed.")
    signature = models.BinaryField(help_text="ECDSA P-256 with SHA-256 over the text's UTF-8, DER.")
    certificate = models.BinaryField(help_text="The policy certificate under PluginAuthority, DER.")
    signed_at = models.DateTimeField()

    class Meta:
        db_table = "signed_policy"

    def __str__(self) -> str:
        return f"{self.customer_id} version {self.version}"
