"""Idempotency-Key: once means once, whoever asks again, however the first ended."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
from django.db import connection

from accounts.api.manage import customers
from accounts.models import ApiKey, Customer
from licensing.core.api import idempotency, operations
from licensing.core.errors import TooManyRequests
from licensing.core.models import AuditEvent, RememberedAnswer
from tests import cast

PATH = "/api/manage/customers/"
BODY = {"id": "new_1", "name": "New"}


def test_the_second_gets_the_first_answer_and_does_nothing(admin):
    first = admin.post(PATH, BODY, Idempotency_Key="k1")
    again = admin.post(f"{PATH.rstrip('/')}", dict(reversed(BODY.items())), Idempotency_Key="k1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert again["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first
    for name in ("Location", "ETag", "Content-Type"):
        assert again[name] == first[name]
    assert AuditEvent.objects.filter(action="customer.created").count() == 1


def test_another_body_under_the_same_key_is_422(admin):
    admin.post(PATH, BODY, Idempotency_Key="k1")
    other = admin.post(PATH, BODY | {"name": "Other"}, Idempotency_Key="k1")
    assert (other.status_code, json.loads(other.content)["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")


def test_the_key_is_of_one_caller_and_one_path(admin, acme):
    _, other = cast.operator("bob@vendor.example")
    assert admin.post(f"{PATH}acme_1/suspend", {}, Idempotency_Key="k1").status_code == 200
    assert "Idempotent-Replayed" not in admin.post(f"{PATH}acme_1/resume", {}, Idempotency_Key="k1")
    assert "Idempotent-Replayed" not in other.post(f"{PATH}acme_1/suspend", {}, Idempotency_Key="k1")


def test_a_refusal_is_remembered_and_undid_what_it_did(admin, acme):
    taken = admin.post(PATH, {"id": "acme_1", "name": "x"}, Idempotency_Key="k1")
    assert taken.status_code == 409
    Customer.objects.all().delete()
    again = admin.post(PATH, {"id": "acme_1", "name": "x"}, Idempotency_Key="k1")
    assert (again.status_code, again.content) == (409, taken.content)


def test_a_5xx_is_not_remembered(admin, monkeypatch):
    def break_down(*_args, **_kwargs):
        raise RuntimeError("broken")

    with monkeypatch.context() as patch:
        patch.setattr(operations.idempotency, "remember", break_down)
        assert admin.post(PATH, BODY, Idempotency_Key="k1").status_code == 500
    assert not Customer.objects.exists()
    assert admin.post(PATH, BODY, Idempotency_Key="k1").status_code == 201


def test_a_429_is_not_remembered(admin, monkeypatch):
    def refuse(**_kwargs):
        raise TooManyRequests(headers={"Retry-After": "1"})

    with monkeypatch.context() as patch:
        patch.setattr(customers, "make_customer", refuse)
        assert admin.post(PATH, BODY, Idempotency_Key="k1").status_code == 429
    assert admin.post(PATH, BODY, Idempotency_Key="k1").status_code == 201


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "é"])
def test_a_key_that_is_none_is_400(admin, key):
    assert admin.post(PATH, BODY, Idempotency_Key=key).status_code == 400


def test_after_a_day_the_key_is_free_and_the_purge_takes_it(admin):
    admin.post(PATH, BODY, Idempotency_Key="k1")
    RememberedAnswer.objects.update(created_at=datetime.now(UTC) - idempotency.LIFETIME)
    assert admin.post(PATH, BODY, Idempotency_Key="k1").status_code == 409  # done anew: the id is taken
    kept = RememberedAnswer.objects.get()
    assert idempotency.forget_old_answers(now=kept.created_at + idempotency.LIFETIME - timedelta(seconds=1)) == 0
    assert idempotency.forget_old_answers(now=kept.created_at + idempotency.LIFETIME) == 1


def test_a_secret_is_given_again_and_lies_in_the_database_sealed(admin, acme):
    path = f"{PATH}acme_1/api-keys/"
    key = "the retry of order 1042, line 7".replace(" ", "-")  # long: ids are random text
    first = json.loads(admin.post(path, {"name": "a"}, Idempotency_Key=key).content)
    again = json.loads(admin.post(path, {"name": "a"}, Idempotency_Key=key).content)
    assert again == first
    assert first["key"].startswith("km_live_")
    row = RememberedAnswer.objects.get()
    assert row.is_sealed
    assert first["key"].encode() not in bytes(row.body)
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(r)::text FROM remembered_answer r")
        (written,) = cursor.fetchone()
    # Binary columns are shown in hexadecimal.
    assert not any(text in written for text in (key, key.encode().hex(), first["key"], first["key"].encode().hex()))
    assert ApiKey.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_fifty_twins_at_once_make_one_thing():
    _, admin = cast.operator()
    barrier = Barrier(50)

    def post(_number: int) -> tuple[int, bytes]:
        barrier.wait()
        try:
            response = cast.Api(admin.credential).post(PATH, BODY, Idempotency_Key="twins")
            return response.status_code, response.content
        finally:
            connection.close()

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(post, range(50)))
    statuses = {status for status, _ in answers}
    assert statuses <= {201, 409}
    assert len({content for status, content in answers if status == 201}) == 1
    busy = {json.loads(content)["code"] for status, content in answers if status == 409}
    assert busy <= {"IDEMPOTENCY_KEY_IN_USE"}
    assert AuditEvent.objects.filter(action="customer.created").count() == 1
    assert admin.post(PATH, BODY, Idempotency_Key="twins").status_code == 201


@pytest.mark.django_db(transaction=True)
def test_killed_between_commit_and_answer_the_retry_gets_the_first_answer(monkeypatch):
    owner = cast.customer("acme_1")
    _, admin = cast.operator()
    path = f"{PATH}{owner.pk}/api-keys/"
    committed = []

    class Killed(BaseException):
        """The process ends here: nothing that follows the commit happens."""

    original = operations.transaction.Atomic.__exit__

    def die_after_commit(self, *exc_info):
        original(self, *exc_info)
        if not connection.in_atomic_block and RememberedAnswer.objects.exists() and not committed:
            committed.append(bytes(RememberedAnswer.objects.get().body))
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(operations.transaction.Atomic, "__exit__", die_after_commit)
        with pytest.raises(Killed):
            admin.post(path, {"name": "a"}, Idempotency_Key="k1")
    assert ApiKey.objects.count() == 1
    retried = admin.post(path, {"name": "a"}, Idempotency_Key="k1")
    assert (retried.status_code, retried["Idempotent-Replayed"]) == (201, "true")
    shown = json.loads(retried.content)
    assert ApiKey.objects.get().last4 == shown["key"][-4:]
