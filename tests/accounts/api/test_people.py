"""Members, invitations, operators and their keys: roles that hold, and nobody who locks everybody out."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from accounts.models import Invitation, Membership, OperatorKey, Role, User
from accounts.services.invitations import accept_invitation, invitation_token
from accounts.services.memberships import remove_member
from licensing.core.errors import Conflict, NotFound
from tests import cast

MEMBERS = "/api/manage/customers/acme_1/members/"


def body_of(response) -> dict:
    return json.loads(response.content)


def member(owner, email: str, role: str = Role.OWNER) -> Membership:
    user = User.objects.create_user(email)
    return Membership.objects.create(user=user, customer=owner, role=role)


def test_a_person_is_invited_and_joins_by_the_link(admin, acme):
    made = admin.post(MEMBERS, {"email": "Eve@Example.COM", "role": "developer"})
    assert (made.status_code, body_of(made)["email"]) == (201, "Eve@example.com")
    assert body_of(admin.get(made["Location"])) == body_of(made)
    assert admin.post(MEMBERS, {"email": "eve@example.com"}).status_code == 409
    token = invitation_token(Invitation.objects.get())
    assert token not in made.content.decode()
    now = datetime.now(UTC)
    stranger, eve = User.objects.create_user("mallory@example.com"), User.objects.create_user("eve@example.com")
    with pytest.raises(Conflict):
        accept_invitation(token=token, user=stranger, actor=cast.ACTOR, now=now)
    for bad, at in ((token + "x", now), (token, now + timedelta(days=7))):
        with pytest.raises(NotFound):
            accept_invitation(token=bad, user=eve, actor=cast.ACTOR, now=at)
    assert accept_invitation(token=token, user=eve, actor=cast.ACTOR, now=now).role == "developer"
    with pytest.raises(NotFound):
        accept_invitation(token=token, user=eve, actor=cast.ACTOR, now=now)
    assert [each["email"] for each in body_of(admin.get(MEMBERS))["results"]] == ["eve@example.com"]


def test_a_withdrawn_invitation_is_good_for_nothing(admin, acme):
    made = admin.post(MEMBERS, {"email": "eve@example.com"})
    token = invitation_token(Invitation.objects.get())
    assert admin.delete(made["Location"]).status_code == 204
    assert admin.get(made["Location"]).status_code == 404
    with pytest.raises(NotFound):
        accept_invitation(
            token=token, user=User.objects.create_user("eve@example.com"), actor=cast.ACTOR, now=datetime.now(UTC)
        )


@pytest.mark.parametrize("email", ["", "eve", "eve@", "a b@example.com", "eve@example.com\nBcc: x@example.com"])
def test_what_is_no_address_is_400(admin, acme, email):
    response = admin.post(MEMBERS, {"email": email})
    assert (response.status_code, body_of(response)["field"]) == (400, "email")


def test_roles_change_and_the_last_owner_stays(admin, acme):
    first = member(acme, "a@example.com")
    path = f"{MEMBERS}{first.user_id}"
    for refused in (admin.patch(path, {"role": "viewer"}), admin.delete(path)):
        assert (refused.status_code, body_of(refused)["code"]) == (409, "CONFLICT")
    second = member(acme, "b@example.com", Role.VIEWER)
    assert body_of(admin.patch(f"{MEMBERS}{second.user_id}", {"role": "owner"}))["role"] == "owner"
    assert admin.delete(path).status_code == 204
    assert admin.patch(path, {"role": "viewer"}).status_code == 404
    assert admin.get(f"{MEMBERS}999999999999999999999").status_code == 404


@pytest.mark.django_db(transaction=True)
def test_two_owners_who_leave_at_once_leave_one():
    owner = cast.customer("acme_1")
    rows = [member(owner, f"{name}@example.com") for name in "ab"]

    def leave(row: Membership) -> bool:
        try:
            remove_member(membership=row, actor=cast.ACTOR)
        except Conflict:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(leave, rows)) == [False, True]
    assert Membership.objects.count() == 1


def test_an_operator_gets_a_key_that_works_until_it_is_revoked(admin):
    made = admin.post("/api/manage/operators/", {"email": "bob@vendor.example", "name": "Bob"})
    assert (made.status_code, body_of(made)["is_superuser"]) == (201, False)
    keys = f"{made['Location']}/keys/"
    issued = admin.post(keys, {"name": "laptop"})
    bob = cast.Api(body_of(issued)["key"])
    assert bob.get("/api/manage/customers/").status_code == 200
    assert "key" not in body_of(admin.get(issued["Location"]))
    assert body_of(admin.post(f"{issued['Location']}/revoke"))["revoked_at"] is not None
    assert bob.get("/api/manage/customers/").status_code == 401


def test_an_operator_who_is_shut_out_or_whose_key_ends_is_401(admin):
    user, bob = cast.operator("bob@vendor.example", is_superuser=False)
    assert admin.patch(f"/api/manage/operators/{user.pk}", {"is_active": False}).status_code == 200
    assert bob.get("/api/manage/customers/").status_code == 401
    assert admin.patch(f"/api/manage/operators/{user.pk}", {"is_active": True}).status_code == 200
    OperatorKey.objects.filter(user=user).update(expires_at=datetime.now(UTC))
    assert bob.get("/api/manage/customers/").status_code == 401


def test_the_last_superuser_stays_one(admin):
    path = f"/api/manage/operators/{User.objects.get().pk}"
    for change in ({"is_superuser": False}, {"is_active": False}):
        assert admin.patch(path, change).status_code == 409
    assert admin.get("/api/manage/customers/").status_code == 200
    assert admin.post("/api/manage/operators/", {"email": "ada@vendor.example"}).status_code == 409
