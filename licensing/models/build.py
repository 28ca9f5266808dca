"""Build credentials: what tells one customer's binary from every other (DESIGN §5 and §8)."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now

from accounts.models import Customer
from licensing.core.constraints import within_the_calendar
from licensing.models.catalogue import Plugin


class BuildCredential(models.Model):
    """The signature and the sealed secret of one build. Valid with the subscription and thirty days on."""

    id = models.CharField(max_length=40, primary_key=True)
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="build_credentials")
    plugin = models.ForeignKey(Plugin, on_delete=models.CASCADE, related_name="build_credentials")
    version = models.CharField(max_length=64)
    target = models.CharField(max_length=32, help_text="Operating system and architecture, such as linux/amd64.")
    signature_digest = models.BinaryField(max_length=32, help_text="SHA-256 of the bytes of plugin.sig.")
    binary_sha256 = models.CharField(max_length=64, blank=True)
    sealed_secret = models.BinaryField(help_text="The 256-bit build secret, sealed under `builds`.")
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField(null=True, blank=True, help_text="For evaluation builds; null: computed.")

    class Meta:
        db_table = "build_credential"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["customer", "plugin", "version", "signature_digest"], name="build_signature_once"
            ),
            models.CheckConstraint(condition=within_the_calendar("expires_at"), name="build_within_the_calendar"),
        ]

    def __str__(self) -> str:
        return self.id
