"""The artifact store: files by their SHA-256, in a folder or in any S3.

Knows no table and no rule. Always holds: a file appears whole or not at all, under the digest of its bytes; and what
`open` hands out has just been shown to be those bytes.
"""

from registry.storage.configured import artifact_store
from registry.storage.interface import (
    ArtifactStore,
    FileDamaged,
    FileTooLarge,
    Stored,
    StoreUnavailable,
    VerifiedFile,
)

__all__ = [
    "ArtifactStore",
    "FileDamaged",
    "FileTooLarge",
    "StoreUnavailable",
    "Stored",
    "VerifiedFile",
    "artifact_store",
]
