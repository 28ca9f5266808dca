"""`/api/manage/customers/{customer_id}/installations/`: find one, release it, put it under quarantine."""

from accounts import selectors
from accounts.api.views import ManageView
from licensing import scoped_reads
from licensing.api.listings import installation_page
from licensing.api.shapes import (
    InstallationQuarantineAsked,
    InstallationQuery,
    InstallationShown,
    QuarantineShown,
)
from licensing.core.api.operations import Answer, Call, created, operation, shown
from licensing.services.installations import release_installation
from licensing.services.quarantines import Scope, quarantine


class CustomerInstallations(ManageView):
    """A customer's installations."""

    @operation(
        "List a customer's installations",
        action="manage.installations.read",
        answer=InstallationShown,
        query=InstallationQuery,
        is_list=True,
    )
    def get(self, call: Call, customer_id: str) -> Answer:
        """Last seen first; released ones included unless the filter says no."""
        selectors.customer(customer_id)
        return Answer(installation_page(call, customer_id))


class CustomerInstallation(ManageView):
    """One installation."""

    @operation("Get an installation", action="manage.installations.read", answer=InstallationShown)
    def get(self, call: Call, customer_id: str, installation_id: str) -> Answer:
        """Show it."""
        return shown(InstallationShown.of(scoped_reads.installation(customer_id, installation_id)))


class CustomerInstallationRelease(ManageView):
    """Releasing an installation."""

    @operation("Release an installation", action="manage.installations.write", answer=InstallationShown)
    def post(self, call: Call, customer_id: str, installation_id: str) -> Answer:
        """Its tokens are refused from now on; its place is free once the lease it may hold has run out."""
        row = scoped_reads.installation(customer_id, installation_id)
        row = release_installation(installation=row, reason="operator", confirmed=False, actor=call.actor, now=call.now)
        return shown(InstallationShown.of(row))


class CustomerInstallationQuarantine(ManageView):
    """Putting an installation under quarantine."""

    @operation(
        "Quarantine an installation",
        action="manage.quarantines.write",
        asked=InstallationQuarantineAsked,
        asked_may_be_empty=True,
        answers={200: QuarantineShown, 201: QuarantineShown},
    )
    def post(self, call: Call, asked: InstallationQuarantineAsked, customer_id: str, installation_id: str) -> Answer:
        """It is refused from now on. Lift it at `DELETE /api/plugins/quarantine/{plugin}/{id}`."""
        row = scoped_reads.installation(customer_id, installation_id)
        entry, is_new = quarantine(
            plugin=row.plugin,
            scope=Scope.INSTALLATION,
            target=row.id,
            reason=asked.reason,
            actor=call.actor,
            now=call.now,
        )
        body = QuarantineShown.of(entry)
        return created(body, f"/api/plugins/quarantine/{row.plugin_id}/{entry.id}") if is_new else shown(body)
