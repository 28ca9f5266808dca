"""Uploading a source: published whole, or refused with what is wrong. In a module of its own, since it commits."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client

from tests.build_farm.conftest import DEMO

if TYPE_CHECKING:
    from tests.licensing.cast import Cast


def ask(method: str, path: str, key: str, body: object = None) -> Any:
    content = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
    return getattr(Client(), method)(path, headers={"authorization": f"Bearer {key}"}, **content)


def packed_demo(version: str) -> bytes:
    from build_farm.source_archive import pack_folder

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "source"
        shutil.copytree(DEMO, folder)
        manifest = folder / "keywright.toml"
        manifest.write_text(manifest.read_text().replace('version = "2.1.0"', f'version = "{version}"'))
        buffer = io.BytesIO()
        pack_folder(folder, buffer)
    return buffer.getvalue()


def upload(operator: str, content: bytes, query: str = "", **options: Any) -> Any:
    return Client().post(
        f"/api/manage/plugins/api-logger/releases/{query}",
        data=content,
        content_type=options.pop("content_type", "application/gzip"),
        headers={"authorization": f"Bearer {operator}", **options},
    )


@pytest.mark.django_db(transaction=True)
def test_a_source_is_uploaded_and_published(real_operator: tuple[Cast, str]) -> None:
    from licensing.models import Plugin

    _, operator = real_operator
    content = packed_demo("2.2.0")
    answer = upload(operator, content)
    assert answer.status_code == 201, answer.content
    shown = answer.json()
    assert answer.headers["Location"] == "/api/manage/plugins/api-logger/releases/2.2.0"
    assert (shown["release"]["version"], shown["release"]["state"]) == ("2.2.0", "published")
    assert "network" in shown["capabilities"]
    assert Plugin.objects.get(pk="api-logger").installation_required
    assert upload(operator, content).json()["release"]["id"] == shown["release"]["id"]
    listed = ask("get", "/api/manage/plugins/api-logger/releases", operator).json()["results"]
    assert [row["version"] for row in listed] == ["2.2.0"]
    draft = ask("post", "/api/manage/plugins/api-logger/releases/", operator, {"version": "9.0.0"})
    assert (draft.status_code, draft.json()["state"]) == (201, "draft")


@pytest.fixture
def real_operator(transactional_db: None, settings: Any, tmp_path: Path) -> tuple[Cast, str]:
    from accounts.models import User
    from accounts.services.operators import issue_operator_key
    from tests.licensing.cast import ACTOR, load_cast

    settings.ARTIFACT_DIR = str(tmp_path / "artifacts")
    cast = load_cast()
    user = User.objects.create_user("operator@vendor.example", "a long password", is_staff=True)
    return cast, issue_operator_key(user=user, name="Test", actor=ACTOR).key


@pytest.mark.django_db(transaction=True)
def test_an_upload_that_cannot_be_taken_is_refused(real_operator: tuple[Cast, str], settings: Any) -> None:
    cast, operator = real_operator
    refused = upload(operator, b"not an archive")
    assert (refused.status_code, refused.json()["code"]) == (422, "SOURCE_REFUSED")
    assert upload(operator, b"x", content_type="text/plain").status_code == 415
    assert upload(operator, b"x", "?surprise=1").status_code == 400
    assert upload(cast.acme.key, b"x").status_code == 401
    settings.SOURCE_MAX_BYTES = 10
    assert upload(operator, b"x" * 11).status_code == 413
