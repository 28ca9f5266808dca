"""The routes of `licensing`'s management and account API."""

from licensing.api import quarantine
from licensing.api.account import holdings
from licensing.api.manage import catalogue, entitlements, installations, plugins, security, subscriptions
from licensing.core.api.routes import route

_CUSTOMER = "api/manage/customers/<customer_id>"

urlpatterns = [
    route("api/manage/features/", catalogue.Features.as_view(), "manage-features"),
    route("api/manage/features/<code>", catalogue.OneFeature.as_view(), "manage-feature"),
    route("api/manage/tiers/", catalogue.Tiers.as_view(), "manage-tiers"),
    route("api/manage/tiers/<name>", catalogue.OneTier.as_view(), "manage-tier"),
    route("api/manage/plugins/", plugins.Plugins.as_view(), "manage-plugins"),
    route("api/manage/plugins/<plugin>", plugins.OnePlugin.as_view(), "manage-plugin"),
    route("api/manage/plugins/<plugin>/manifests/", plugins.Manifests.as_view(), "manage-manifests"),
    route("api/manage/plugins/<plugin>/manifests/<version>", plugins.OneManifest.as_view(), "manage-manifest"),
    route(f"{_CUSTOMER}/subscription", subscriptions.CustomerSubscription.as_view(), "manage-subscription"),
    route(f"{_CUSTOMER}/entitlements/", entitlements.CustomerEntitlements.as_view(), "manage-entitlements"),
    route(
        f"{_CUSTOMER}/entitlements/bulk", entitlements.CustomerEntitlementBatch.as_view(), "manage-entitlement-batch"
    ),
    route(
        f"{_CUSTOMER}/entitlements/<entitlement_id>",
        entitlements.CustomerEntitlement.as_view(),
        "manage-entitlement",
    ),
    route(f"{_CUSTOMER}/explain", entitlements.CustomerExplanation.as_view(), "manage-explain"),
    route(f"{_CUSTOMER}/installations/", installations.CustomerInstallations.as_view(), "manage-installations"),
    route(
        f"{_CUSTOMER}/installations/<installation_id>",
        installations.CustomerInstallation.as_view(),
        "manage-installation",
    ),
    route(
        f"{_CUSTOMER}/installations/<installation_id>/release",
        installations.CustomerInstallationRelease.as_view(),
        "manage-installation-release",
    ),
    route(
        f"{_CUSTOMER}/installations/<installation_id>/quarantine",
        installations.CustomerInstallationQuarantine.as_view(),
        "manage-installation-quarantine",
    ),
    route("api/manage/signing-keys/", security.SigningKeys.as_view(), "manage-signing-keys"),
    route("api/manage/signing-keys/rotate", security.SigningKeyRotation.as_view(), "manage-signing-key-rotate"),
    route("api/manage/quarantines/", security.Quarantines.as_view(), "manage-quarantines"),
    route("api/manage/lockdown", security.GlobalLockdown.as_view(), "manage-lockdown"),
    route("api/plugins/quarantine/<plugin>", quarantine.PluginQuarantines.as_view(), "plugin-quarantines"),
    route(
        "api/plugins/quarantine/<plugin>/<quarantine_id>", quarantine.PluginQuarantine.as_view(), "plugin-quarantine"
    ),
    route("api/plugins/report", quarantine.report, "plugin-report"),
    route("api/account/subscription", holdings.AccountSubscription.as_view(), "account-subscription"),
    route("api/account/entitlements/", holdings.AccountEntitlements.as_view(), "account-entitlements"),
    route("api/account/explain", holdings.AccountExplanation.as_view(), "account-explain"),
    route("api/account/installations/", holdings.AccountInstallations.as_view(), "account-installations"),
    route(
        "api/account/installations/<installation_id>", holdings.AccountInstallation.as_view(), "account-installation"
    ),
    route(
        "api/account/installations/<installation_id>/release",
        holdings.AccountInstallationRelease.as_view(),
        "account-installation-release",
    ),
]
