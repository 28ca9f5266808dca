"""Append-mostly tables: what happened (audit), what others still have to hear of (outbox), and what was answered."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now


class AuditEvent(models.Model):
    """One row of the audit log (DESIGN §10). Nothing refers to it and it refers to nothing: it outlives its subject.

    The database lets only the owner role change or remove rows.
    """

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(db_default=Now())
    actor_kind = models.CharField(max_length=16)
    actor_id = models.CharField(max_length=80)
    actor_display = models.CharField(max_length=254, blank=True)
    action = models.CharField(max_length=64)
    subject_kind = models.CharField(max_length=32, blank=True)
    subject_id = models.CharField(max_length=128, blank=True)
    customer_id = models.CharField(max_length=63, blank=True)
    code = models.CharField(max_length=40, blank=True)
    source_address = models.GenericIPAddressField(null=True)
    request_id = models.CharField(max_length=40, blank=True)
    detail = models.JSONField(default=dict)

    class Meta:
        db_table = "audit_event"
        indexes: ClassVar = [
            models.Index(fields=["customer_id", "-id"], name="audit_customer_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.subject_id}"


class OutboxEvent(models.Model):
    """A domain event, committed with the change that it tells of, until every subscriber has had it."""

    id = models.BigAutoField(primary_key=True)
    customer_id = models.CharField(max_length=63, blank=True)
    name = models.CharField(max_length=64)
    payload = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now())
    dispatched_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    not_before = models.DateTimeField(db_default=Now())
    failed_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "outbox_event"
        indexes: ClassVar = [
            models.Index(
                fields=["customer_id", "id"],
                name="outbox_waiting",
                condition=models.Q(dispatched_at__isnull=True, failed_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.customer_id}"


class RememberedAnswer(models.Model):
    """The answer to a POST that named an Idempotency-Key, committed with what the POST did.

    `digest` is SHA-256 of caller, method, path and key: the key itself is not kept. A body that holds a secret is
    sealed under the caller's credential, which is not kept either.
    """

    id = models.BigAutoField(primary_key=True)
    digest = models.BinaryField(max_length=32, unique=True)
    asked_digest = models.BinaryField(max_length=32)
    status = models.PositiveSmallIntegerField()
    headers = models.JSONField(default=dict)
    body = models.BinaryField()
    is_sealed = models.BooleanField()
    created_at = models.DateTimeField()

    class Meta:
        db_table = "remembered_answer"
        indexes: ClassVar = [models.Index(fields=["created_at"], name="remembered_answer_oldest")]

    def __str__(self) -> str:
        return f"{self.status} of {self.created_at}"
