"""The store that the settings name."""

from functools import lru_cache
from pathlib import Path

from django.conf import settings
from django.core.signals import setting_changed

from registry.storage.folder import FolderStore
from registry.storage.interface import ArtifactStore

_CONNECT_SECONDS = 5
_READ_SECONDS = 20


@lru_cache(maxsize=1)
def artifact_store() -> ArtifactStore:
    """This process's artifact store: S3 where a bucket is configured, else a folder."""
    if settings.ARTIFACT_S3_BUCKET:
        return _s3_store()
    return FolderStore(Path(settings.ARTIFACT_DIR))


def _s3_store() -> ArtifactStore:
    # Imported where it is used: who keeps artifacts in a folder need not install it.
    from botocore.config import Config
    from storages.backends.s3 import S3Storage

    from registry.storage.s3 import S3Store

    storage = S3Storage(
        bucket_name=settings.ARTIFACT_S3_BUCKET,
        endpoint_url=settings.ARTIFACT_S3_ENDPOINT or None,
        region_name=settings.ARTIFACT_S3_REGION or None,
        access_key=settings.ARTIFACT_S3_ACCESS_KEY or None,
        secret_key=settings.ARTIFACT_S3_SECRET_KEY or None,
        client_config=Config(
            signature_version="s3v4",
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            retries={"max_attempts": 3, "mode": "standard"},
            s3={"addressing_style": "path" if settings.ARTIFACT_S3_ENDPOINT else "auto"},
        ),
    )
    return S3Store(storage, spool=Path(settings.ARTIFACT_SPOOL_DIR) if settings.ARTIFACT_SPOOL_DIR else None)


def forget(**_kwargs: object) -> None:
    """Read the configuration anew when it is next needed."""
    artifact_store.cache_clear()


setting_changed.connect(forget, dispatch_uid="registry.storage")  # sent by tests that override settings
