"""`/api/builds`, `/api/manage/builds/` and the source upload: who may, what is answered, what is masked."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client

if TYPE_CHECKING:
    from pytest_django import DjangoDbBlocker

    from tests.licensing.cast import Cast

ASKED = {"plugin": "api-logger", "version": "2.1.0", "target": "linux/amd64"}


@pytest.fixture(scope="module")
def committed(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[tuple[Cast, str]]:
    """The cast with a published release, and an operator's key."""
    from django.test import override_settings

    from accounts.models import User
    from accounts.services.operators import issue_operator_key
    from registry.storage import artifact_store
    from tests.build_farm.conftest import publish_demo
    from tests.licensing.cast import ACTOR, empty_tables, load_cast

    folder = Path(tempfile.mkdtemp(prefix="keywright-store-"))
    with override_settings(ARTIFACT_DIR=str(folder)):
        with django_db_blocker.unblock():
            cast = load_cast()
            publish_demo(artifact_store())
            operator = User.objects.create_user("operator@vendor.example", "a long password", is_staff=True)
            key = issue_operator_key(user=operator, name="Test", actor=ACTOR).key
        yield cast, key
        with django_db_blocker.unblock():
            empty_tables()
    shutil.rmtree(folder)


@pytest.fixture
def cast(committed: tuple[Cast, str], db: None) -> Cast:
    return committed[0]


@pytest.fixture
def operator(committed: tuple[Cast, str], db: None) -> str:
    return committed[1]


def ask(method: str, path: str, key: str | None, body: object = None, **headers: str) -> Any:
    if key is not None:
        headers["authorization"] = f"Bearer {key}"
    content = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
    return getattr(Client(), method)(path, headers=headers, **content)


def test_a_customer_asks_waits_and_cancels(cast: Cast) -> None:
    key = cast.acme.key
    asked = ask("post", "/api/builds", key, ASKED)
    assert asked.status_code == 202
    build = asked.json()
    assert asked.headers["Location"] == f"/api/builds/{build['id']}"
    assert (build["state"], build["position"], build["priority"]) == ("queued", 0, "interactive")
    assert ask("post", "/api/builds/", key, ASKED).json()["id"] == build["id"]
    (listed,) = ask("get", "/api/builds/?state=queued&plugin=api-logger", key).json()["results"]
    assert listed["id"] == build["id"]
    shown = ask("get", f"/api/builds/{build['id']}", key)
    assert shown.status_code == 200
    assert not {"constants", "sealed_secret", "customer_id"} & shown.json().keys()
    cancelled = ask("post", f"/api/builds/{build['id']}/cancel", key)
    assert cancelled.json()["state"] == "cancelled"
    assert ask("post", "/api/builds", key, ASKED).json()["id"] != build["id"]


def test_an_idempotency_key_makes_one_build(cast: Cast) -> None:
    again = {**ASKED, "again": True}
    answers = [ask("post", "/api/builds", cast.acme.key, again, **{"idempotency-key": "one"}) for _ in range(2)]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert answers[1].headers["Idempotent-Replayed"] == "true"


def test_another_customers_build_is_not_there(cast: Cast) -> None:
    theirs = ask("post", "/api/builds", cast.globex.key, ASKED).json()["id"]
    for method, path in (("get", f"/api/builds/{theirs}"), ("post", f"/api/builds/{theirs}/cancel")):
        refused = ask(method, path, cast.acme.key)
        nothing = ask(method, path.replace(theirs, "bld_nothing"), cast.acme.key)
        assert refused.status_code == nothing.status_code == 404
        assert {**refused.json(), "request_id": ""} == {**nothing.json(), "request_id": ""}
    assert ask("get", "/api/builds", cast.acme.key).json()["results"] == []


def test_without_key_scope_or_subscription_there_is_no_build(cast: Cast) -> None:
    from licensing.models import Subscription
    from tests.licensing.cast import make_key

    assert ask("post", "/api/builds", None, ASKED).status_code == 401
    assert ask("post", "/api/builds", "km_live_nonsense", ASKED).status_code == 401
    reader = make_key(cast.acme.customer, scopes=["account:read"]).key
    assert ask("get", "/api/builds", reader).status_code == 200
    refused = ask("post", "/api/builds", reader, ASKED)
    assert (refused.status_code, refused.json()["code"]) == (403, "SCOPE_MISSING")
    assert "builds" in refused.json()["detail"]
    Subscription.objects.filter(customer=cast.acme.customer).update(status="paused")
    paused = ask("post", "/api/builds", cast.acme.key, ASKED)
    assert (paused.status_code, paused.json()["code"]) == (403, "SUBSCRIPTION_PAUSED")


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"target": "linux"}, 400, "target"),
        ({"target": "plan9/amd64"}, 400, "target"),
        ({"target": None}, 400, "target"),
        ({"api_key_id": "key_nothing"}, 400, "api_key_id"),
        ({"surprise": 1}, 400, "surprise"),
        ({"version": "9.9.9"}, 404, None),
        ({"plugin": "custom-compliance-reporter"}, 404, None),
        ({"plugin": "no-such-plugin"}, 404, None),
    ],
)
def test_what_is_asked_wrongly_is_named(cast: Cast, changes: dict[str, Any], status: int, field: str | None) -> None:
    refused = ask("post", "/api/builds", cast.acme.key, {**ASKED, **changes})
    assert refused.status_code == status
    assert refused.json().get("field") == field


def test_operators_see_and_order_for_everybody(cast: Cast, operator: str) -> None:
    asked = ask("post", "/api/manage/builds/", operator, {**ASKED, "customer_id": cast.acme.id})
    assert asked.status_code == 202
    build = asked.json()
    assert (build["customer_id"], asked.headers["Location"]) == (cast.acme.id, f"/api/manage/builds/{build['id']}")
    ask("post", "/api/builds", cast.globex.key, ASKED)
    everybody = ask("get", "/api/manage/builds/", operator).json()["results"]
    assert {row["customer_id"] for row in everybody} == {cast.acme.id, cast.globex.id}
    one = ask("get", f"/api/manage/builds/?customer_id={cast.acme.id}", operator).json()["results"]
    assert [row["id"] for row in one] == [build["id"]]
    assert ask("post", f"/api/manage/builds/{build['id']}/cancel", operator).json()["state"] == "cancelled"
    assert ask("get", f"/api/manage/builds/{build['id']}", operator).json()["state"] == "cancelled"
    assert ask("get", "/api/manage/builds/", cast.acme.key).status_code == 401
    nobody = ask("post", "/api/manage/builds/", operator, {**ASKED, "customer_id": "nobody"})
    assert nobody.status_code == 404


def test_a_mass_rebuild_is_asked_for_and_followed(cast: Cast, operator: str) -> None:
    from build_farm.models import Build
    from registry.models import Artifact, Release, StoredFile
    from tests.build_farm.services.conftest import now

    build = Build.objects.get(pk=ask("post", "/api/builds", cast.acme.key, ASKED).json()["id"])
    release = Release.objects.get()
    file = StoredFile.objects.create(sha256="ab" * 32, size=1, put_at=now())
    artifact = Artifact.objects.create(
        id="art_1",
        release=release,
        target="linux/amd64",
        customer=cast.acme.customer,
        file=file,
        filename="x.kmpkg",
        kind="farm",
        build_id=build.pk,
    )
    Build.objects.filter(pk=build.pk).update(state="published", artifact=artifact, sealed_secret=b"x", binary_size=1)
    for body in ({"customer_id": cast.acme.id}, {"plugin": "api-logger", "version": "2.1.0"}):
        asked = ask("post", "/api/manage/builds/rebuild", operator, body)
        assert asked.status_code == 202
        answer = asked.json()
        if answer["total"]:
            followed = ask("get", asked.headers["Location"], operator).json()
            assert (followed["total"], followed["by_state"]) == (1, {"queued": 1})
        else:
            assert answer["joined"] == 1
    assert ask("post", "/api/manage/builds/rebuild", operator, {}).status_code == 400
    assert ask("get", "/api/manage/builds/batches/bat_nothing", operator).status_code == 404
