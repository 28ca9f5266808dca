"""`/api/manage/customers/`: what is promised of each operation, and what each refuses."""

import json

import pytest

from accounts.models import Customer, RetiredCustomerId
from licensing.core.models import AuditEvent
from tests.cast import Api, customer

PATH = "/api/manage/customers/"


def body_of(response) -> dict:
    return json.loads(response.content)


def test_create_answers_201_with_the_customer_its_place_and_its_tag(admin):
    response = admin.post(PATH, {"id": "acme_1", "name": " Acme ", "metadata": {"crm": "7"}, "require_mfa": True})
    assert response.status_code == 201
    assert response["Location"] == "/api/manage/customers/acme_1"
    shown = body_of(response)
    assert shown["name"] == "Acme"
    assert shown["metadata"] == {"crm": "7"}
    assert shown["require_mfa"] is True
    assert shown["suspended_at"] is None
    again = admin.get(response["Location"])
    assert body_of(again) == shown
    assert again["ETag"] == response["ETag"]
    assert AuditEvent.objects.filter(action="customer.created", subject_id="acme_1", actor_kind="operator").count() == 1


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["id", "name"]),
        ({"id": "Acme", "name": "x"}, ["id"]),
        ({"id": "acme_1", "name": 7, "proof_required": "yes"}, ["name", "proof_required"]),
        ({"id": "acme_1", "name": "x", "nmae": "x", "portal_cidrs": [1]}, ["portal_cidrs[0]", "nmae"]),
        ({"id": "acme_1", "name": "x", "portal_cidrs": ["nowhere"]}, ["portal_cidrs[0]"]),
        ({"id": "acme_1", "name": "   "}, ["name"]),
        ({"id": "acme_1", "name": "x", "metadata": {"a": 1}}, ["metadata[...]"]),
    ],
)
def test_create_refuses_and_names_every_field(admin, body, fields):
    response = admin.post(PATH, body)
    problem = body_of(response)
    assert response.status_code == 400
    assert response["Content-Type"] == "application/problem+json"
    named = [error["field"] for error in problem["errors"]] if "errors" in problem else [problem["field"]]
    assert named == fields
    assert not Customer.objects.exists()


def test_create_refuses_an_id_that_is_or_was_taken(admin, acme):
    RetiredCustomerId.objects.create(id="gone_1")
    for taken in ("acme_1", "gone_1"):
        response = admin.post(PATH, {"id": taken, "name": "x"})
        assert (response.status_code, body_of(response)["field"]) == (409, "id")


def test_patch_changes_what_is_given_and_holds_if_match(admin, acme):
    tag = admin.get(f"{PATH}acme_1")["ETag"]
    changed = admin.patch(f"{PATH}acme_1", {"name": "New"}, If_Match=tag)
    assert (changed.status_code, body_of(changed)["name"]) == (200, "New")
    stale = admin.patch(f"{PATH}acme_1", {"name": "Newer"}, If_Match=tag)
    assert (stale.status_code, body_of(stale)["code"]) == (412, "PRECONDITION_FAILED")
    assert admin.patch(f"{PATH}acme_1", {"name": "Newer"}, If_Match=f'"x", {changed["ETag"]}').status_code == 200
    weak = admin.patch(f"{PATH}acme_1", {"name": "W"}, If_Match=f"W/{admin.get(f'{PATH}acme_1')['ETag']}")
    assert weak.status_code == 412
    assert admin.patch(f"{PATH}acme_1", {"name": "W"}, If_Match="tag").status_code == 400
    assert admin.get(f"{PATH}acme_1", If_None_Match=admin.get(f"{PATH}acme_1")["ETag"]).status_code == 304


def test_suspend_and_resume(admin, acme):
    suspended = admin.post(f"{PATH}acme_1/suspend", {"reason": "unpaid"})
    assert body_of(suspended)["suspended_reason"] == "unpaid"
    assert body_of(admin.post(f"{PATH}acme_1/suspend"))["suspended_at"] == body_of(suspended)["suspended_at"]
    assert body_of(admin.post(f"{PATH}acme_1/resume"))["suspended_at"] is None
    actions = AuditEvent.objects.filter(subject_id="acme_1").order_by("id").values_list("action", flat=True)
    assert list(actions)[-2:] == ["customer.suspended", "customer.resumed"]


def test_delete_removes_for_good_and_retires_the_id(admin, acme):
    response = admin.delete(f"{PATH}acme_1")
    assert (response.status_code, response.content) == (204, b"")
    assert admin.get(f"{PATH}acme_1").status_code == 404
    assert admin.post(PATH, {"id": "acme_1", "name": "x"}).status_code == 409


def test_list_filters_orders_and_pages(admin):
    for number in range(7):
        customer(f"cust_{number}", f"Name {number % 2}")
    first = body_of(admin.get(f"{PATH}?limit=3"))
    assert [each["id"] for each in first["results"]] == ["cust_0", "cust_1", "cust_2"]
    seen, url = [], f"{PATH}?limit=3&ordering=-created_at"
    while url:
        page = body_of(admin.get(url.removeprefix("http://testserver")))
        seen += [each["id"] for each in page["results"]]
        url = page["next"]
    assert seen == [f"cust_{number}" for number in reversed(range(7))]
    assert len(body_of(admin.get(f"{PATH}?search=name+1"))["results"]) == 3
    assert len(body_of(admin.get(f"{PATH}?search=cust_3"))["results"]) == 1
    assert body_of(admin.get(f"{PATH}?is_suspended=true"))["results"] == []


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=x",
        "cursor=x",
        "ordering=name",
        "serach=a",
        "limit=1&limit=2",
        "search=%00",
        "search=%ed%a0%80&x=1",
    ],
)
def test_list_refuses_queries_it_does_not_know(admin, query):
    assert admin.get(f"{PATH}?{query}").status_code == 400


def test_a_cursor_of_another_order_or_altered_is_refused(admin):
    for number in range(3):
        customer(f"cust_{number}")
    url = body_of(admin.get(f"{PATH}?limit=1"))["next"].removeprefix("http://testserver")
    assert admin.get(url).status_code == 200
    assert admin.get(f"{url}&ordering=-id").status_code == 400
    assert admin.get(f"{url[:-1]}{'A' if url[-1] != 'A' else 'B'}").status_code == 400


@pytest.mark.parametrize("path", ["%00", "..%2f", "a", "A" * 400, "acme_1%0a", "%ff", "nobody_1"])
def test_what_names_nothing_is_404(admin, acme, path):
    response = admin.get(f"{PATH}{path}")
    assert (response.status_code, body_of(response)["code"]) == (404, "NOT_FOUND")


def test_batch_does_all_or_nothing_and_tells_by_place(admin, acme):
    path = "/api/manage/bulk/customers"
    good = {"create": [{"id": "new_1", "name": "N"}], "update": [{"id": "acme_1", "name": "A"}]}
    done = body_of(admin.post(path, good))
    assert [done["created"][0]["id"], done["updated"][0]["name"]] == ["new_1", "A"]
    bad = {
        "create": [{"id": "new_2", "name": "N"}, {"id": "new_1", "name": "N"}],
        "update": [{"id": "acme_1", "name": "B"}, {"id": "nobody_1", "name": "B"}],
    }
    refused = admin.post(path, bad)
    assert refused.status_code == 400
    assert [error["field"] for error in body_of(refused)["errors"]] == ["create[1].id", "update[1].id"]
    assert not Customer.objects.filter(pk="new_2").exists()
    assert Customer.objects.get(pk="acme_1").name == "A"
    unread = admin.post(path, {"create": [{"id": "new_3"}, {"id": "x", "name": "N", "z": 1}]})
    assert [error["field"] for error in body_of(unread)["errors"]] == ["create[0].name", "create[1].id", "create[1].z"]


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
def test_without_a_good_key_everything_is_401(acme, method):
    for credential in ("", "kmop_wrong", "kmop_" + "0" * 36):
        for path in (PATH, f"{PATH}acme_1", f"{PATH}nobody_1"):
            response = Api(credential)(method, path)
            assert (response.status_code, response["WWW-Authenticate"][:6]) == (401, "Bearer")


def test_a_method_that_is_not_there_is_405_with_allow(admin, acme):
    response = admin.put(f"{PATH}acme_1", {})
    assert (response.status_code, response["Allow"]) == (405, "GET, HEAD, PATCH, DELETE")
    assert admin("OPTIONS", PATH).status_code == 405


def test_both_forms_of_a_path_work(admin, acme):
    assert admin.get("/api/manage/customers").status_code == 200
    assert admin.get("/api/manage/customers/acme_1/").status_code == 200
