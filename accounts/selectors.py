"""Scoped reads of `accounts`: the only way its views fetch. What is not there, or another customer's, is `NotFound`.

`lock` takes the row's lock, for a write that first holds If-Match against the present state.
"""

from typing import TypeVar

from django.db.models import Model, QuerySet

from accounts.models import ApiKey, Customer, Invitation, Membership, OperatorKey, User
from licensing.core.errors import NotFound

Row = TypeVar("Row", bound=Model)


def one(rows: QuerySet[Row], *, lock: bool = False) -> Row:
    """The one row of a query, locked if asked. Raises `NotFound`."""
    found = (rows.select_for_update(of=("self",)) if lock else rows).first()
    if found is None:
        raise NotFound()
    return found


def customer(customer_id: str, *, lock: bool = False) -> Customer:
    """One customer. Raises `NotFound`."""
    return one(Customer.objects.filter(pk=customer_id), lock=lock)


def api_keys_of(customer_id: str) -> QuerySet[ApiKey]:
    """A customer's keys, with when each was last used."""
    return ApiKey.objects.select_related("use").filter(customer_id=customer_id)


def api_key(customer_id: str, key_id: str, *, lock: bool = False) -> ApiKey:
    """One key of a customer. Raises `NotFound`."""
    return one(api_keys_of(customer_id).filter(pk=key_id), lock=lock)


def memberships_of(customer_id: str) -> QuerySet[Membership]:
    """The people of an organisation."""
    return Membership.objects.select_related("user").filter(customer_id=customer_id)


def membership(customer_id: str, member_id: str, *, lock: bool = False) -> Membership:
    """One person's membership, by the person's id. Raises `NotFound`."""
    if not member_id.isdecimal() or len(member_id) > 18:
        raise NotFound()
    return one(memberships_of(customer_id).filter(user_id=int(member_id)), lock=lock)


def invitations_of(customer_id: str) -> QuerySet[Invitation]:
    """Invitations into an organisation that wait to be accepted, lapsed ones included."""
    return Invitation.objects.filter(customer_id=customer_id, accepted_at=None, withdrawn_at=None)


def invitation(customer_id: str, invitation_id: str, *, lock: bool = False) -> Invitation:
    """One waiting invitation. Raises `NotFound`."""
    return one(invitations_of(customer_id).filter(pk=invitation_id), lock=lock)


def operators() -> QuerySet[User]:
    """The vendor's operators, those who were shut out included."""
    return User.objects.filter(is_staff=True)


def operator(operator_id: str, *, lock: bool = False) -> User:
    """One operator. Raises `NotFound`."""
    if not operator_id.isdecimal() or len(operator_id) > 18:
        raise NotFound()
    return one(operators().filter(pk=int(operator_id)), lock=lock)


def operator_keys_of(operator: User) -> QuerySet[OperatorKey]:
    """An operator's keys."""
    return OperatorKey.objects.filter(user=operator)


def operator_key(operator: User, key_id: str, *, lock: bool = False) -> OperatorKey:
    """One key of an operator. Raises `NotFound`."""
    return one(operator_keys_of(operator).filter(pk=key_id), lock=lock)
