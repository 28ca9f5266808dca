"""Usage: what was counted, by day. Written in batches, never per request (DESIGN §10)."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now

from accounts.models import Customer


class UsageDay(models.Model):
    """How much of one measure one customer used of one plugin on one day (UTC).

    `measure` is `event:<feature>` for what plugins report, and `request:<endpoint>` for what the plugin API served.
    """

    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="usage")
    plugin_name = models.CharField(max_length=64)
    measure = models.CharField(max_length=80)
    day = models.DateField()
    count = models.PositiveBigIntegerField(default=0)

    class Meta:
        db_table = "usage_day"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["customer", "day", "plugin_name", "measure"], name="usage_day_once"),
        ]

    def __str__(self) -> str:
        return f"{self.customer_id} {self.day} {self.plugin_name} {self.measure}: {self.count}"


class UsageFlush(models.Model):
    """A portion of counts that has been added already: a crash between the commit and its removal adds it once."""

    id = models.CharField(max_length=64, primary_key=True)
    flushed_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "usage_flush"

    def __str__(self) -> str:
        return self.id


class UsageBatch(models.Model):
    """A batch of events taken while Valkey was away: its id, so that it counts once."""

    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="usage_batches")
    batch_id = models.CharField(max_length=128)
    taken_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "usage_batch"
        constraints: ClassVar = [models.UniqueConstraint(fields=["customer", "batch_id"], name="usage_batch_once")]

    def __str__(self) -> str:
        return f"{self.customer_id} {self.batch_id}"
