"""Installations: copies of a plugin on machines, counted against the subscription's limit."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now

from accounts.models import Customer
from licensing.models.catalogue import Plugin


class Installation(models.Model):
    """One copy of a plugin on one machine, told apart by fingerprint.

    It holds a place while it is not released, and after a release that the machine did not confirm itself
    (`deactivate`) until the lease it may still hold has run out: else one place would serve many machines.
    """

    id = models.CharField(max_length=40, primary_key=True)
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="installations")
    plugin = models.ForeignKey(Plugin, on_delete=models.CASCADE, related_name="installations")
    mode = models.CharField(max_length=4, default="live")
    fingerprint = models.CharField(max_length=128)
    is_anonymous = models.BooleanField(default=False, help_text="Stands for every caller that named no machine.")
    hostname = models.CharField(max_length=255, blank=True)
    os = models.CharField(max_length=32, blank=True)
    arch = models.CharField(max_length=32, blank=True)
    version = models.CharField(max_length=64, blank=True)
    build_id = models.CharField(max_length=40, blank=True)
    api_key_id = models.CharField(max_length=40, blank=True)
    first_seen_at = models.DateTimeField(db_default=Now())
    last_seen_at = models.DateTimeField(db_default=Now())
    last_seen_from = models.GenericIPAddressField(null=True)
    previous_seen_from = models.GenericIPAddressField(null=True, help_text="The address before that one.")
    previous_seen_at = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True, help_text="No lease handed out ends later than this.")
    released_at = models.DateTimeField(null=True)
    released_reason = models.CharField(max_length=32, blank=True)
    possible_clone_at = models.DateTimeField(null=True, help_text="The fingerprint was seen from two places at once.")

    class Meta:
        db_table = "installation"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["customer", "plugin", "mode", "fingerprint"], name="installation_fingerprint_once"
            ),
            models.CheckConstraint(condition=models.Q(mode__in=["live", "test"]), name="installation_mode_known"),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["customer", "mode"],
                name="installation_places",
                condition=models.Q(released_at__isnull=True),
            ),
            models.Index(fields=["customer", "-last_seen_at"], name="installation_newest"),
            models.Index(
                fields=["last_seen_at"], name="installation_silent", condition=models.Q(released_at__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return self.id
