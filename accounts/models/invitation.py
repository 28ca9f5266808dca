"""Invitations: asking a person into an organisation by e-mail."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Lower, Now

from accounts.models.customer import Customer
from accounts.models.person import Role


class Invitation(models.Model):
    """One address that was asked in, with the role it will have. The link in the mail names this row, signed."""

    id = models.CharField(max_length=40, primary_key=True)
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="invitations")
    email = models.EmailField(max_length=254)
    role = models.CharField(max_length=16, choices=Role)
    invited_by = models.CharField(max_length=254, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True)
    withdrawn_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "invitation"
        constraints: ClassVar = [
            models.UniqueConstraint(
                "customer",
                Lower("email"),
                condition=models.Q(accepted_at__isnull=True, withdrawn_at__isnull=True),
                name="invitation_waits_once",
            ),
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="invitation_role_known"),
        ]

    def __str__(self) -> str:
        return f"{self.email} into {self.customer_id}"
