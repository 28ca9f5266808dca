"""Every test of the registry that keeps files runs twice: on a folder, and on a server that speaks S3."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pytest_django import Settings

if TYPE_CHECKING:
    from registry.storage import ArtifactStore
    from tests.registry.cast import Cast


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """A server that speaks S3."""
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else a line for each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def s3_bucket_of_all(s3_endpoint: str) -> Any:
    """A bucket that keeps versions, as a boto3 resource."""
    import boto3

    s3 = boto3.resource(
        "s3", endpoint_url=s3_endpoint, region_name="us-east-1", aws_access_key_id="id", aws_secret_access_key="key"
    )
    bucket = s3.Bucket(f"artifacts-{os.urandom(6).hex()}")
    bucket.create()
    bucket.Versioning().enable()
    return bucket


@pytest.fixture
def s3_bucket(s3_bucket_of_all: Any) -> Iterator[Any]:
    """The same, empty."""
    yield s3_bucket_of_all
    s3_bucket_of_all.object_versions.delete()


@pytest.fixture
def folder_store(tmp_path: Path, settings: Settings) -> ArtifactStore:
    """The configured store, empty, in a folder."""
    from registry.storage import artifact_store

    settings.ARTIFACT_DIR = str(tmp_path / "artifacts")
    return artifact_store()


@pytest.fixture
def s3_store(s3_bucket: Any, s3_endpoint: str, settings: Settings) -> ArtifactStore:
    """The configured store, empty, in S3."""
    from registry.storage import artifact_store

    settings.ARTIFACT_S3_ENDPOINT = s3_endpoint
    settings.ARTIFACT_S3_REGION = "us-east-1"
    settings.ARTIFACT_S3_ACCESS_KEY, settings.ARTIFACT_S3_SECRET_KEY = "id", "key"
    settings.ARTIFACT_S3_BUCKET = s3_bucket.name
    return artifact_store()


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest) -> ArtifactStore:
    """Either of them."""
    found: ArtifactStore = request.getfixturevalue(f"{request.param}_store")
    return found


@pytest.fixture
def spoil(store: ArtifactStore, request: pytest.FixtureRequest, settings: Settings) -> Callable[[str], None]:
    """Changes a byte of a stored file, named by its digest, behind everybody's back; its size stays."""
    from registry.models import StoredFile

    def in_folder(digest: str) -> None:
        path = Path(settings.ARTIFACT_DIR) / "sha256" / digest[:2] / digest[2:4] / digest
        before, content = path.stat(), path.read_bytes()
        path.chmod(0o600)
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def in_bucket(digest: str) -> None:
        written = request.getfixturevalue("s3_bucket").Object(f"sha256/{digest}")
        content = written.get()["Body"].read()
        changed = written.put(Body=content[:-1] + bytes([content[-1] ^ 1]), ChecksumAlgorithm="SHA256")
        # As in a bucket that keeps no versions: the object that is there is the one that is looked at.
        StoredFile.objects.filter(pk=digest).update(object_version=changed["VersionId"])

    return in_folder if request.node.callspec.params["store"] == "folder" else in_bucket


@pytest.fixture
def loaded(db: None) -> Cast:
    """The cast; nothing is released yet."""
    from tests.registry.cast import load_cast

    return load_cast()
