"""Entitlements: features as one customer has them, beside what its tier grants."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now

from accounts.models import Customer
from licensing.core.constraints import is_feature_value, within_the_calendar
from licensing.models.catalogue import Feature, granted


class Entitlement(models.Model):
    """An override (always there) or a temporary grant (between two instants); the grant wins while it lasts."""

    class Kind(models.TextChoices):
        """Which of the two layers over the tier's grant this is."""

        OVERRIDE = "override"
        TEMPORARY = "temporary"

    id = models.CharField(max_length=40, primary_key=True)
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="entitlements")
    feature = models.ForeignKey(Feature, on_delete=models.PROTECT, related_name="entitlements")
    kind = models.CharField(max_length=9, choices=Kind)
    value = models.JSONField(default=granted)
    starts_at = models.DateTimeField(null=True, blank=True)
    ends_at = models.DateTimeField(null=True, blank=True)
    source = models.CharField(max_length=100, blank=True, help_text="Why: an order, a trial, a support case.")
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "entitlement"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["customer", "feature"],
                condition=models.Q(kind="override"),
                name="entitlement_one_override",
            ),
            models.CheckConstraint(
                condition=(
                    models.Q(kind="override", starts_at__isnull=True, ends_at__isnull=True)
                    | models.Q(kind="temporary", starts_at__isnull=False, ends_at__isnull=False)
                    & models.Q(ends_at__gt=models.F("starts_at"))
                ),
                name="entitlement_kind_and_period",
            ),
            models.CheckConstraint(condition=is_feature_value("value"), name="entitlement_value_typed"),
            models.CheckConstraint(
                condition=within_the_calendar("starts_at", "ends_at"), name="entitlement_within_the_calendar"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.customer_id}: {self.feature_id}"
