"""Signing keys, the list of quarantines, and the lockdown."""

from accounts.api.views import ManageView
from licensing import scoped_reads
from licensing.api.shapes import (
    LockdownAsked,
    LockdownShown,
    QuarantineQuery,
    QuarantineShown,
    SigningKeyQuery,
    SigningKeyRotationAsked,
    SigningKeyShown,
)
from licensing.core.api.operations import Answer, Call, created, done, operation, shown
from licensing.core.api.pages import page_of
from licensing.models import Lockdown
from licensing.services.lockdown import end_lockdown, start_lockdown
from licensing.services.rotation import ask_for_rotation

SIGN_TIMEOUT_SECONDS = 5.0


class SigningKeys(ManageView):
    """The keys that tokens and leases are signed with."""

    @operation(
        "List signing keys",
        action="manage.signing_keys.read",
        answer=SigningKeyShown,
        query=SigningKeyQuery,
        is_list=True,
    )
    def get(self, call: Call) -> Answer:
        """Newest first, retired ones included."""
        query: SigningKeyQuery = call.query
        rows = scoped_reads.signing_keys()
        if query.purpose is not None:
            rows = rows.filter(purpose=query.purpose)
        if query.state is not None:
            rows = rows.filter(state=query.state)
        return Answer(page_of(call.request, rows, query, order=("-created_at", "-kid"), show=SigningKeyShown.of))


class SigningKeyRotation(ManageView):
    """Rotating a signing key."""

    @operation(
        "Rotate a signing key",
        action="manage.signing_keys.write",
        asked=SigningKeyRotationAsked,
        answer=SigningKeyShown,
        status=201,
        waits=True,
    )
    def post(self, call: Call, asked: SigningKeyRotationAsked) -> Answer:
        """Done by the `sign` worker, which alone can; 503 if it does not answer within five seconds."""
        kid = ask_for_rotation(
            purpose=asked.purpose,
            emergency=asked.emergency,
            actor=call.actor,
            now=call.now,
            timeout_seconds=SIGN_TIMEOUT_SECONDS,
        )
        row = scoped_reads.signing_keys().get(pk=kid)
        return created(SigningKeyShown.of(row), "/api/manage/signing-keys/")


class Quarantines(ManageView):
    """What is, or was, under quarantine."""

    @operation(
        "List quarantines",
        action="manage.quarantines.read",
        answer=QuarantineShown,
        query=QuarantineQuery,
        is_list=True,
    )
    def get(self, call: Call) -> Answer:
        """Newest first. They are made and lifted at `/api/plugins/quarantine/{plugin}`."""
        query: QuarantineQuery = call.query
        rows = scoped_reads.quarantines()
        if query.scope is not None:
            rows = rows.filter(scope=query.scope)
        if query.plugin:
            rows = rows.filter(plugin_name=query.plugin)
        if query.customer:
            rows = rows.filter(customer_id=query.customer)
        if query.in_force is not None:
            rows = rows.filter(lifted_at__isnull=query.in_force)
        return Answer(page_of(call.request, rows, query, order=("-id",), show=QuarantineShown.of))


class GlobalLockdown(ManageView):
    """The global switch."""

    @operation("Get the lockdown", action="manage.quarantines.read", answer=LockdownShown)
    def get(self, call: Call) -> Answer:
        """Whether it is on, since when and why."""
        return shown(LockdownShown.of(Lockdown.objects.first()))

    @operation(
        "Lock all access",
        action="manage.lockdown.write",
        asked=LockdownAsked,
        asked_may_be_empty=True,
        answer=LockdownShown,
        is_conditional=True,
    )
    def put(self, call: Call, asked: LockdownAsked) -> Answer:
        """Every decision for every customer is LOCKDOWN within a second. Again, it changes nothing."""
        call.check_precondition(LockdownShown.of(Lockdown.objects.select_for_update().first()))
        row, _ = start_lockdown(reason=asked.reason, actor=call.actor, now=call.now)
        return shown(LockdownShown.of(row))

    @operation("End the lockdown", action="manage.lockdown.write", status=204, is_conditional=True)
    def delete(self, call: Call) -> Answer:
        """Open access again."""
        call.check_precondition(LockdownShown.of(Lockdown.objects.select_for_update().first()))
        end_lockdown(actor=call.actor)
        return done()
