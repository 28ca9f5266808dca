"""From asking for a download to the bytes."""

import base64
import hashlib

import pytest

from registry.storage import ArtifactStore
from tests.registry import cast
from tests.registry.cast import PUBLIC, Cast, Host, body_of, content_of, json_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def loaded(db: None) -> Cast:
    return cast.load_cast()


def test_a_download_from_list_to_bytes(store: ArtifactStore, loaded: Cast) -> None:
    artifact = cast.publish(store, PUBLIC, "2.1.0")
    host = Host(loaded.acme.key)
    listed = json_of(host.get("/api/registry/plugins?platform=linux/amd64"))
    assert [(entry["name"], entry["latest_version"]) for entry in listed["plugins"]] == [(PUBLIC, "2.1.0")]
    asked = json_of(host.ask(PUBLIC, "2.1.0"))
    assert (asked["sha256"], asked["size"]) == (artifact.sha256, artifact.file.size)
    response = host.fetch(asked["url"].removeprefix("http://testserver"))
    content = body_of(response)
    assert response.status_code == 200
    assert content == content_of(PUBLIC, "2.1.0")
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
    assert response.headers["Repr-Digest"] == f"sha-256=:{digest}:"
    assert response.headers["ETag"] == f'"{artifact.sha256}"'
    assert response.headers["Content-Length"] == str(len(content))
    assert response.headers["Accept-Ranges"] == "bytes"
