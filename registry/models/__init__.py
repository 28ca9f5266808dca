"""Tables of `registry`, one module a subject."""

from registry.models.access import DownloadGrant, RegistryToken
from registry.models.artifact import TARGET_PATTERN, Artifact, StoredFile
from registry.models.policy import CustomerPolicy, SignedPolicy
from registry.models.release import CHANNEL_PATTERN, Channel, Release, RequestedBuild

__all__ = [
    "CHANNEL_PATTERN",
    "TARGET_PATTERN",
    "Artifact",
    "Channel",
    "CustomerPolicy",
    "DownloadGrant",
    "RegistryToken",
    "Release",
    "RequestedBuild",
    "SignedPolicy",
    "StoredFile",
]
