"""The store that the settings name."""

from functools import lru_cache
from pathlib import Path

from django.conf import settings

from registry.storage.folder import FolderStore
from registry.storage.interface import ArtifactStore

_CONNECT_SECONDS = 5
_READ_SECONDS = 20
# Kept open for the next request; more are made while more are needed.
_CONNECTIONS = 64


def artifact_store() -> ArtifactStore:
    """This process's artifact store: S3 where a bucket is configured, else a folder."""
    if settings.ARTIFACT_S3_BUCKET:
        return _s3_store(
            settings.ARTIFACT_S3_BUCKET,
            settings.ARTIFACT_S3_ENDPOINT,
            settings.ARTIFACT_S3_REGION,
            settings.ARTIFACT_S3_ACCESS_KEY,
            settings.ARTIFACT_S3_SECRET_KEY,
            settings.ARTIFACT_SPOOL_DIR,
        )
    return _folder_store(settings.ARTIFACT_DIR)


# One for each configuration: it remembers what it has verified, and its connections. A process has one configuration;
# tests have many.
@lru_cache(maxsize=2)
def _folder_store(folder: str) -> ArtifactStore:
    return FolderStore(Path(folder))


@lru_cache(maxsize=2)
def _s3_store(bucket: str, endpoint: str, region: str, access_key: str, secret_key: str, spool: str) -> ArtifactStore:
    # Imported where it is used: who keeps artifacts in a folder need not install it.
    from botocore.config import Config
    from storages.backends.s3 import S3Storage

    from registry.storage.s3 import S3Store

    storage = S3Storage(
        bucket_name=bucket,
        endpoint_url=endpoint or None,
        region_name=region or None,
        access_key=access_key or None,
        secret_key=secret_key or None,
        client_config=Config(
            signature_version="s3v4",
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            max_pool_connections=_CONNECTIONS,
            retries={"max_attempts": 3, "mode": "standard"},
            s3={"addressing_style": "path" if endpoint else "auto"},
        ),
    )
    return S3Store(storage, spool=Path(spool) if spool else None)
