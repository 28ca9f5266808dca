"""`/api/manage/operators/`: who works at the vendor, and their keys. Only superusers change anything here."""

from accounts import selectors
from accounts.api.shapes import (
    IssuedOperatorKeyShown,
    OperatorAsked,
    OperatorChanges,
    OperatorKeyAsked,
    OperatorKeyShown,
    OperatorShown,
)
from accounts.api.views import ManageView
from accounts.services.operator_changes import make_operator, update_operator
from accounts.services.operators import issue_operator_key, revoke_operator_key
from licensing.core.api.operations import Answer, Call, created, operation, shown
from licensing.core.api.pages import page_of
from licensing.core.api.shapes import ListQuery, given
from licensing.core.errors import InvalidValue


class Operators(ManageView):
    """All operators."""

    @operation("List operators", action="manage.operators.read", answer=OperatorShown, query=ListQuery, is_list=True)
    def get(self, call: Call) -> Answer:
        """Those who were shut out included."""
        return Answer(page_of(call.request, selectors.operators(), call.query, order=("id",), show=OperatorShown.of))

    @operation(
        "Create an operator",
        action="manage.operators.write",
        asked=OperatorAsked,
        answer=OperatorShown,
        status=201,
        problems=[(409, "CONFLICT")],
    )
    def post(self, call: Call, asked: OperatorAsked) -> Answer:
        """They set their password by the portal's reset mail."""
        row = make_operator(email=asked.email, name=asked.name, is_superuser=asked.is_superuser, actor=call.actor)
        row.refresh_from_db()
        return created(OperatorShown.of(row), f"/api/manage/operators/{row.pk}")


class OneOperator(ManageView):
    """One operator."""

    @operation("Get an operator", action="manage.operators.read", answer=OperatorShown)
    def get(self, call: Call, operator_id: str) -> Answer:
        """Show them."""
        return shown(OperatorShown.of(selectors.operator(operator_id)))

    @operation(
        "Change an operator",
        action="manage.operators.write",
        asked=OperatorChanges,
        answer=OperatorShown,
        is_conditional=True,
        problems=[(409, "CONFLICT")],
    )
    def patch(self, call: Call, asked: OperatorChanges, operator_id: str) -> Answer:
        """`is_active: false` shuts them out, keys and all; the last superuser stays one."""
        row = selectors.operator(operator_id, lock=True)
        call.check_precondition(OperatorShown.of(row))
        return shown(OperatorShown.of(update_operator(operator=row, changes=given(asked), actor=call.actor)))


class OperatorKeys(ManageView):
    """An operator's keys."""

    @operation(
        "List an operator's keys",
        action="manage.operators.read",
        answer=OperatorKeyShown,
        query=ListQuery,
        is_list=True,
    )
    def get(self, call: Call, operator_id: str) -> Answer:
        """Revoked ones included."""
        rows = selectors.operator_keys_of(selectors.operator(operator_id))
        return Answer(page_of(call.request, rows, call.query, order=("id",), show=OperatorKeyShown.of))

    @operation(
        "Create an operator key",
        action="manage.operators.write",
        asked=OperatorKeyAsked,
        answer=IssuedOperatorKeyShown,
        status=201,
    )
    def post(self, call: Call, asked: OperatorKeyAsked, operator_id: str) -> Answer:
        """The answer holds the key as `key`, this once. It acts as the operator it belongs to."""
        user = selectors.operator(operator_id)
        if asked.expires_at is not None and asked.expires_at <= call.now:
            raise InvalidValue("expires_at: lies in the past.", field="expires_at")
        issued = issue_operator_key(user=user, name=asked.name, actor=call.actor, expires_at=asked.expires_at)
        row = selectors.operator_key(user, issued.operator_key.id)
        body = IssuedOperatorKeyShown.issued(row, issued.key)
        return created(body, f"/api/manage/operators/{user.pk}/keys/{row.id}", holds_secret=True)


class OneOperatorKey(ManageView):
    """One operator key."""

    @operation("Get an operator key", action="manage.operators.read", answer=OperatorKeyShown)
    def get(self, call: Call, operator_id: str, key_id: str) -> Answer:
        """Show it; never the key itself."""
        return shown(OperatorKeyShown.of(selectors.operator_key(selectors.operator(operator_id), key_id)))


class OperatorKeyRevocation(ManageView):
    """Revoking an operator key."""

    @operation("Revoke an operator key", action="manage.operators.write", answer=OperatorKeyShown)
    def post(self, call: Call, operator_id: str, key_id: str) -> Answer:
        """For good, and at once. Revoking again changes nothing."""
        row = selectors.operator_key(selectors.operator(operator_id), key_id, lock=True)
        return shown(OperatorKeyShown.of(revoke_operator_key(operator_key=row, actor=call.actor, now=call.now)))
