"""Django's admin for `licensing`: for looking things up (see `accounts.admin`)."""

from django.contrib import admin

from accounts.admin import ReadOnlyAdmin
from licensing.models import (
    BuildCredential,
    Certificate,
    Entitlement,
    Feature,
    Generation,
    Installation,
    Lockdown,
    Plugin,
    PluginAccess,
    PluginManifest,
    Quarantine,
    SignedKeySet,
    SigningKey,
    Subscription,
    Tier,
    UsageDay,
)


@admin.register(Tier)
class TierAdmin(ReadOnlyAdmin):
    """Tiers."""

    list_display = ("name", "rank", "installation_limit", "requests_per_minute", "events_per_day")


@admin.register(Plugin)
class PluginAdmin(ReadOnlyAdmin):
    """Plugins."""

    list_display = ("name", "required_tier", "is_private", "accepts_unsigned", "minimum_version")


@admin.register(Subscription)
class SubscriptionAdmin(ReadOnlyAdmin):
    """Subscriptions."""

    list_display = ("customer", "tier", "status", "period_start", "period_end", "grace_until")


@admin.register(Installation)
class InstallationAdmin(ReadOnlyAdmin):
    """Installations."""

    list_display = ("id", "customer", "plugin", "hostname", "version", "mode", "last_seen_at", "released_at")
    search_fields = ("id", "hostname__istartswith")
    ordering = ("-last_seen_at",)


@admin.register(Quarantine)
class QuarantineAdmin(ReadOnlyAdmin):
    """Quarantines."""

    list_display = ("id", "scope", "plugin_name", "target", "customer", "created_at", "lifted_at")


@admin.register(SigningKey)
class SigningKeyAdmin(ReadOnlyAdmin):
    """Token and lease keys: public halves alone."""

    list_display = ("kid", "purpose", "algorithm", "state", "created_at", "activated_at", "retired_at")


@admin.register(Certificate)
class CertificateAdmin(ReadOnlyAdmin):
    """Certificates; their keys are left out."""

    list_display = ("id", "purpose", "not_before", "not_after", "retired_at")


admin.site.register(
    [
        BuildCredential,
        Entitlement,
        Feature,
        Generation,
        Lockdown,
        PluginAccess,
        PluginManifest,
        SignedKeySet,
        UsageDay,
    ],
    ReadOnlyAdmin,
)
