"""Customers: the organisations that buy."""

from typing import ClassVar

from django.contrib.postgres.indexes import OpClass
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Now, Upper

CUSTOMER_ID_PATTERN = r"^[a-z][a-z0-9_]{2,62}$"
# What changes are notified under that concern no one customer (licensing.snapshots.protocol).
RESERVED_IDS = ("all", "catalogue")


class Customer(models.Model):
    """An organisation that buys. Its id is chosen by the vendor, shows in tokens and URLs, and is never reused."""

    id = models.CharField(max_length=63, primary_key=True, validators=[RegexValidator(CUSTOMER_ID_PATTERN)])
    name = models.CharField(max_length=200)
    suspended_at = models.DateTimeField(null=True, blank=True)
    suspended_reason = models.CharField(max_length=500, blank=True)
    proof_required = models.BooleanField(
        default=False, help_text="Refuse requests that do not prove which build they come from."
    )
    require_mfa = models.BooleanField(default=False, help_text="People must use a second factor in the portal.")
    portal_cidrs = models.JSONField(default=list, blank=True, help_text="Addresses the portal may be used from.")
    metadata = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "customer"
        indexes: ClassVar = [
            models.Index(fields=["created_at", "id"], name="customer_oldest"),
            # Finding customers by how their name starts, in whatever case.
            models.Index(OpClass(Upper("name"), name="text_pattern_ops"), name="customer_name_start"),
            models.Index(fields=["id"], name="customer_suspended", condition=models.Q(suspended_at__isnull=False)),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(id__regex=CUSTOMER_ID_PATTERN), name="customer_id_shape"),
            models.CheckConstraint(condition=~models.Q(id__in=RESERVED_IDS), name="customer_id_not_reserved"),
        ]

    def __str__(self) -> str:
        return self.id

    @property
    def is_suspended(self) -> bool:
        """Whether an operator has suspended the customer."""
        return self.suspended_at is not None


class RetiredCustomerId(models.Model):
    """An id whose customer was removed. Old tokens, packages and audit rows name it, so nobody may have it again."""

    id = models.CharField(max_length=63, primary_key=True)
    retired_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "retired_customer_id"

    def __str__(self) -> str:
        return self.id
