"""Django's admin for `accounts`: for looking things up. What a service keeps true is not edited here.

Rows are changed by the portal, the management API and `manage.py`, which write the audit log with them.
"""

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.db.models import BinaryField
from django.http import HttpRequest

from accounts.models import ApiKey, Customer, Invitation, Membership, OperatorKey, User
from licensing.core.models import AuditEvent, OutboxEvent

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[Any]
else:
    _Admin = admin.ModelAdmin


class ReadOnlyAdmin(_Admin):
    """Shows rows and changes none. `hidden` names columns that hold secrets, sealed or digested."""

    hidden: ClassVar[tuple[str, ...]] = ()
    show_full_result_count = False
    list_per_page = 50

    def get_exclude(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Leave out every secret, and whatever else is stored as bytes."""
        stored = tuple(field.name for field in self.model._meta.fields if isinstance(field, BinaryField))
        return (*self.hidden, *stored)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never: a service makes rows."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never: a service changes rows."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never: a service removes rows."""
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Every operator looks."""
        return bool(request.user.is_staff)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Every operator looks."""
        return bool(request.user.is_staff)


@admin.register(Customer)
class CustomerAdmin(ReadOnlyAdmin):
    """Customers."""

    list_display = ("id", "name", "suspended_at", "require_mfa", "proof_required", "created_at")
    search_fields = ("id__startswith", "name__istartswith")


@admin.register(User)
class UserAdmin(ReadOnlyAdmin):
    """People; never their passwords."""

    hidden = ("password",)
    list_display = ("email", "name", "is_active", "is_staff", "is_superuser", "last_login")
    search_fields = ("email__istartswith",)


@admin.register(Membership)
class MembershipAdmin(ReadOnlyAdmin):
    """Who belongs where."""

    list_display = ("user", "customer", "role", "created_at")
    list_select_related = ("user", "customer")


@admin.register(Invitation)
class InvitationAdmin(ReadOnlyAdmin):
    """Who was asked in."""

    list_display = ("email", "customer", "role", "expires_at", "accepted_at", "withdrawn_at")


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    """Customers' keys: what recognises and opens them is left out."""

    hidden = ("pepper_version",)
    list_display = ("id", "customer", "name", "last4", "mode", "expires_at", "revoked_at")
    search_fields = ("id", "last4")


@admin.register(OperatorKey)
class OperatorKeyAdmin(ReadOnlyAdmin):
    """Operators' keys, likewise."""

    hidden = ("pepper_version",)
    list_display = ("id", "user", "name", "last4", "expires_at", "revoked_at")


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    """The audit log."""

    list_display = ("at", "actor_kind", "actor_display", "action", "subject_id", "customer_id", "code")
    ordering = ("-id",)


@admin.register(OutboxEvent)
class OutboxEventAdmin(ReadOnlyAdmin):
    """Events that wait or failed."""

    list_display = ("id", "name", "customer_id", "created_at", "dispatched_at", "attempts", "failed_at")
    ordering = ("-id",)
