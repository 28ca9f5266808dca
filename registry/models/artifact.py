"""Artifacts: the files of a release, and the bytes they stand for, kept once by SHA-256."""

from typing import ClassVar

from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Now

from accounts.models import Customer
from registry.models.release import Release

TARGET_PATTERN = r"^(any|[a-z0-9]{1,15}/[a-z0-9_]{1,15})$"
SHA256_PATTERN = r"^[0-9a-f]{64}$"


class StoredFile(models.Model):
    """Bytes in the artifact store. There is a row for whatever is referred to, and the store holds what it says.

    Rows are locked for being referred to and for being collected, so that the two can never cross.
    """

    sha256 = models.CharField(max_length=64, primary_key=True)
    size = models.PositiveBigIntegerField()
    object_version = models.CharField(
        max_length=1024, blank=True, help_text="The version id that the object store gave these bytes, if it keeps any."
    )
    put_at = models.DateTimeField(help_text="When somebody last uploaded these bytes; collection waits a while.")
    verified_at = models.DateTimeField(null=True, help_text="When `verify_storage` last read and hashed all of it.")

    class Meta:
        db_table = "stored_file"
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(sha256__regex=SHA256_PATTERN), name="stored_file_digest_shape"),
        ]

    def __str__(self) -> str:
        return self.sha256


class Artifact(models.Model):
    """A file of a release for one target: everybody's, or one customer's own build. Its bytes never change."""

    class Kind(models.TextChoices):
        """Where it comes from: the build farm, or a vendor's upload."""

        FARM = "farm"
        PREBUILT = "prebuilt"

    id = models.CharField(max_length=40, primary_key=True)
    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="artifacts")
    target = models.CharField(max_length=32, validators=[RegexValidator(TARGET_PATTERN)])
    customer = models.ForeignKey(
        Customer, on_delete=models.CASCADE, null=True, related_name="artifacts", help_text="Null: every customer's."
    )
    file = models.ForeignKey(StoredFile, on_delete=models.PROTECT, related_name="artifacts")
    filename = models.CharField(max_length=200)
    kind = models.CharField(max_length=8, choices=Kind)
    build_id = models.CharField(
        max_length=40, blank=True, help_text="The build it came from; a quarantine can name it."
    )
    signature = models.BinaryField(
        null=True, help_text="Over the SHA-256 of the file, RSA-3072 PKCS #1 v1.5; null: not signed."
    )
    certificate = models.BinaryField(null=True, help_text="DER of the certificate whose key made the signature.")
    created_at = models.DateTimeField(db_default=Now())
    superseded_at = models.DateTimeField(null=True, help_text="A newer build took its place.")

    class Meta:
        db_table = "artifact"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["release", "target", "customer"],
                condition=models.Q(superseded_at__isnull=True),
                nulls_distinct=False,
                name="artifact_current_once",
            ),
            models.CheckConstraint(condition=models.Q(kind__in=["farm", "prebuilt"]), name="artifact_kind_known"),
            models.CheckConstraint(
                condition=models.Q(signature__isnull=True, certificate__isnull=True)
                | models.Q(signature__isnull=False, certificate__isnull=False),
                name="artifact_signature_and_certificate",
            ),
        ]

    def __str__(self) -> str:
        return self.id

    @property
    def sha256(self) -> str:
        """Hex SHA-256 of the file."""
        return self.file_id

    @property
    def is_signed(self) -> bool:
        """Whether a signature stands beside it."""
        return self.signature is not None
