"""Subscriptions: what a customer has paid for, and until when."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now

from accounts.models import Customer
from licensing.core.constraints import within_the_calendar
from licensing.models.catalogue import Tier


class Subscription(models.Model):
    """One per customer. Whether it is active is computed from the row and the instant: see licensing.rules."""

    class Status(models.TextChoices):
        """What the billing system last said."""

        TRIALING = "trialing"
        ACTIVE = "active"
        PAST_DUE = "past_due"
        PAUSED = "paused"
        CANCELED = "canceled"
        EXPIRED = "expired"

    customer = models.OneToOneField(Customer, on_delete=models.CASCADE, primary_key=True, related_name="subscription")
    tier = models.ForeignKey(Tier, on_delete=models.PROTECT, related_name="subscriptions")
    status = models.CharField(max_length=8, choices=Status, default=Status.ACTIVE)
    period_start = models.DateTimeField()
    period_end = models.DateTimeField(help_text="End of the paid period, or of the trial; the instant itself is after.")
    grace_until = models.DateTimeField(
        null=True,
        blank=True,
        help_text="How long a late invoice locks nobody out; null: seven days after period_end.",
    )
    installation_limit = models.PositiveIntegerField(null=True, blank=True, help_text="Null: as the tier says.")
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "subscription"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(period_end__gt=models.F("period_start")),
                name="subscription_period_forward",
            ),
            models.CheckConstraint(
                condition=models.Q(status__in=["trialing", "active", "past_due", "paused", "canceled", "expired"]),
                name="subscription_status_known",
            ),
            models.CheckConstraint(
                condition=within_the_calendar("period_start", "period_end", "grace_until"),
                name="subscription_within_the_calendar",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.customer_id}: {self.tier_id} {self.status}"
