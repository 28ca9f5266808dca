"""Tables of `licensing`, one module a subject."""

from licensing.models.build import BuildCredential
from licensing.models.catalogue import (
    PLUGIN_NAME_PATTERN,
    Feature,
    Lockdown,
    Plugin,
    PluginAccess,
    PluginManifest,
    Tier,
    TierGrant,
)
from licensing.models.entitlement import Entitlement
from licensing.models.installation import Installation
from licensing.models.quarantine import Generation, Quarantine
from licensing.models.signing import Certificate, CertificateRequest, SignedKeySet, SigningKey
from licensing.models.subscription import Subscription
from licensing.models.usage import UsageBatch, UsageDay, UsageFlush

__all__ = [
    "PLUGIN_NAME_PATTERN",
    "BuildCredential",
    "Certificate",
    "CertificateRequest",
    "Entitlement",
    "Feature",
    "Generation",
    "Installation",
    "Lockdown",
    "Plugin",
    "PluginAccess",
    "PluginManifest",
    "Quarantine",
    "SignedKeySet",
    "SigningKey",
    "Subscription",
    "Tier",
    "TierGrant",
    "UsageBatch",
    "UsageDay",
    "UsageFlush",
]
