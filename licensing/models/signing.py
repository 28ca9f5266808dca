"""Keys that sign: for tokens and leases, and PluginAuthority's certificates (DESIGN §6). Only `sign` writes here."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now


class SigningKey(models.Model):
    """A key that web processes mint with. Published while pending, before it signs; kept while what it signed lives."""

    class Purpose(models.TextChoices):
        """What it signs. Lease keys are listed in the signed key set alone, not in the JWKS."""

        TOKEN = "token"  # noqa: S105  a purpose, not a credential
        LEASE = "lease"

    class State(models.TextChoices):
        """pending → active → retiring → retired."""

        PENDING = "pending"
        ACTIVE = "active"
        RETIRING = "retiring"
        RETIRED = "retired"

    kid = models.CharField(max_length=43, primary_key=True, help_text="RFC 7638 thumbprint.")
    purpose = models.CharField(max_length=8, choices=Purpose)
    algorithm = models.CharField(max_length=8, default="ES256")
    state = models.CharField(max_length=8, choices=State, default=State.PENDING)
    public_jwk = models.JSONField()
    sealed_private_key = models.BinaryField(
        editable=False, help_text="PKCS #8, sealed under `tokens`; null bytes when retired."
    )
    created_at = models.DateTimeField(db_default=Now())
    activated_at = models.DateTimeField(null=True)
    retiring_at = models.DateTimeField(null=True)
    retired_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "signing_key"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["purpose"], condition=models.Q(state="active"), name="signing_key_one_active"
            ),
            models.UniqueConstraint(
                fields=["purpose"], condition=models.Q(state="pending"), name="signing_key_one_pending"
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=["pending", "active", "retiring", "retired"]),
                name="signing_key_state_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.purpose} {self.kid} ({self.state})"


class Certificate(models.Model):
    """A certificate of PluginAuthority, or the authority's own, with its private key sealed under `artifacts`."""

    id = models.CharField(max_length=40, primary_key=True)
    purpose = models.CharField(max_length=12, help_text="`authority`, or the one purpose of the certificate.")
    der = models.BinaryField()
    sealed_private_key = models.BinaryField(editable=False, null=True, help_text="Null: the key is kept elsewhere.")
    not_before = models.DateTimeField()
    not_after = models.DateTimeField()
    created_at = models.DateTimeField(db_default=Now())
    retired_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "certificate"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["purpose"],
                condition=models.Q(retired_at__isnull=True),
                name="certificate_one_current",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.purpose} until {self.not_after}"


class CertificateRequest(models.Model):
    """A key that waits for its certificate, where PluginAuthority's own key is on another machine."""

    id = models.CharField(max_length=40, primary_key=True)
    purpose = models.CharField(max_length=12)
    der = models.BinaryField(help_text="PKCS #10.")
    sealed_private_key = models.BinaryField(
        editable=False, help_text="Sealed under `artifacts`; no bytes once the request is closed."
    )
    created_at = models.DateTimeField(db_default=Now())
    closed_at = models.DateTimeField(
        null=True, help_text="When its certificate came, or another request took its place."
    )

    class Meta:
        db_table = "certificate_request"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["purpose"], condition=models.Q(closed_at__isnull=True), name="certificate_request_one_open"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.purpose} asked {self.created_at}"


class SignedKeySet(models.Model):
    """Each signed key set that was ever published; the highest version is the one that is out."""

    version = models.PositiveBigIntegerField(primary_key=True)
    jws = models.TextField()
    issued_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    kids = models.JSONField(default=list)

    class Meta:
        db_table = "signed_key_set"

    def __str__(self) -> str:
        return f"version {self.version}"
