"""Credentials of private registries, and the download URLs that were handed out."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from accounts.models import Customer
from accounts.models.api_key import KeyMaterial
from registry.models.artifact import Artifact


class RegistryToken(KeyMaterial):
    """A `pat_` token: reads and downloads from one customer's registry, within caps, until it ends or is revoked."""

    id = models.CharField(max_length=40, primary_key=True)
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="registry_tokens")
    name = models.CharField(max_length=100)
    plugins = ArrayField(
        models.CharField(max_length=64), default=list, help_text="Only these plugins; empty: all the customer may see."
    )
    expires_at = models.DateTimeField()
    max_downloads = models.PositiveIntegerField(null=True, help_text="Download URLs it may get; null: no cap.")
    max_bytes = models.PositiveBigIntegerField(null=True, help_text="Bytes it may be sent; null: no cap.")
    downloads_used = models.PositiveIntegerField(default=0)
    bytes_used = models.PositiveBigIntegerField(default=0)
    last_used_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.CharField(max_length=80)
    revoked_at = models.DateTimeField(null=True)
    revoked_reason = models.CharField(max_length=200, blank=True)

    class Meta:
        db_table = "registry_token"
        indexes: ClassVar = [models.Index(fields=["customer", "created_at"], name="registry_token_of_customer")]

    def __str__(self) -> str:
        return f"{self.name} (…{self.last4})"


class DownloadGrant(models.Model):
    """A download URL that was handed out: how much was sent for it. Removed some time after it has ended."""

    id = models.CharField(max_length=40, primary_key=True)
    artifact = models.ForeignKey(Artifact, on_delete=models.CASCADE, related_name="grants")
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="+")
    credential_kind = models.CharField(max_length=16)
    credential_id = models.CharField(max_length=40)
    expires_at = models.DateTimeField()
    bytes_taken = models.PositiveBigIntegerField(default=0, help_text="Sent, or promised to a download under way.")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "download_grant"
        indexes: ClassVar = [models.Index(fields=["expires_at"], name="download_grant_oldest")]

    def __str__(self) -> str:
        return self.id
