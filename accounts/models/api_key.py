"""Keys that programs present: customers' API keys and operators' keys (DESIGN §4).

A key itself is never stored. A row holds `HMAC-SHA-256(pepper, SHA-256(key))` to find it by, and sealed under the
`auth` key-encryption key its SHA-256 and its key root.
"""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from accounts.models.customer import Customer
from accounts.models.person import User
from licensing.core.constraints import has_no_null, within_the_calendar

SCOPES = (
    "plugins:authenticate",
    "registry:read",
    "registry:download",
    "builds",
    "usage",
    "account:read",
    "account:write",
)


class KeyMaterial(models.Model):
    """What every kind of key stores of itself."""

    digest = models.BinaryField(max_length=32, unique=True, editable=False)
    pepper_version = models.PositiveSmallIntegerField(editable=False)
    last4 = models.CharField(max_length=4, editable=False)
    sealed_fingerprint = models.BinaryField(editable=False)

    class Meta:
        abstract = True


class ApiKey(KeyMaterial):
    """A customer's key."""

    class Mode(models.TextChoices):
        """`test` keys decide alike; their installations are counted apart and their tokens say so."""

        LIVE = "live"
        TEST = "test"

    id = models.CharField(max_length=40, primary_key=True)
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100)
    mode = models.CharField(max_length=4, choices=Mode, default=Mode.LIVE)
    scopes = ArrayField(models.CharField(max_length=32))
    cidrs = ArrayField(models.CharField(max_length=49), default=list, blank=True)
    sealed_root = models.BinaryField(editable=False)
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.CharField(max_length=80, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_reason = models.CharField(max_length=200, blank=True)
    replaced_by = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="replaces")

    class Meta:
        db_table = "api_key"
        indexes: ClassVar = [
            models.Index(fields=["customer", "created_at"], name="api_key_of_customer"),
            # Whether any key lies under a pepper that is not held is asked for every key that is not found.
            models.Index(fields=["pepper_version"], name="api_key_under_pepper"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(mode__in=["live", "test"]), name="api_key_mode_known"),
            models.CheckConstraint(condition=within_the_calendar("expires_at"), name="api_key_within_the_calendar"),
            models.CheckConstraint(condition=has_no_null("scopes"), name="api_key_scopes_whole"),
            models.CheckConstraint(condition=has_no_null("cidrs"), name="api_key_cidrs_whole"),
        ]

    def __str__(self) -> str:
        return f"{self.name} (…{self.last4})"


class ApiKeyUse(models.Model):
    """When a key was last used. Apart from the key, because writing a key tells every web process to forget it."""

    api_key = models.OneToOneField(ApiKey, on_delete=models.CASCADE, primary_key=True, related_name="use")
    last_used_at = models.DateTimeField()
    last_used_from = models.GenericIPAddressField(null=True)

    class Meta:
        db_table = "api_key_use"

    def __str__(self) -> str:
        return f"{self.api_key_id} {self.last_used_at}"


class OperatorKey(KeyMaterial):
    """A key for the management API; it acts as the operator it belongs to."""

    id = models.CharField(max_length=40, primary_key=True)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="operator_keys")
    name = models.CharField(max_length=100)
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "operator_key"

    def __str__(self) -> str:
        return f"{self.name} (…{self.last4})"
