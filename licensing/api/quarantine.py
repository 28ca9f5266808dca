"""`/api/plugins/quarantine/{plugin}` and `/api/plugins/report`: taking access away, on the plugin API."""

import time
from typing import Annotated, ClassVar

from django.http import HttpRequest, HttpResponse
from msgspec import Meta

from accounts.api.shapes import Reason
from accounts.api.views import ManageView
from licensing import scoped_reads
from licensing.api.plugins import caller_of, outcome_response, sent_request
from licensing.api.shapes import QuarantineShown, Scope
from licensing.core.api.operations import Answer, Call, created, done, operation, shown
from licensing.core.api.pages import page_of
from licensing.core.api.shapes import Asked, ListQuery
from licensing.core.endpoint import bearer_credential, endpoint
from licensing.core.json_body import read_object, read_shape
from licensing.models import PLUGIN_NAME_PATTERN
from licensing.services.quarantines import lift_quarantine, quarantine
from licensing.services.report import ReportAsked
from licensing.services.report import report as report_compromise
from licensing.services.state import State


class QuarantineAsked(Asked):
    """What to put under quarantine: nothing more for the plugin, else a version, a SHA-256 or an id as `target`."""

    scope: Scope
    target: Annotated[str, Meta(max_length=128)] = ""
    reason: Reason = ""


class PluginQuarantineQuery(ListQuery):
    """Which of the plugin's quarantines, newest first."""

    in_force: bool | None = None


class PluginQuarantines(ManageView):
    """The one door for quarantines."""

    path_patterns: ClassVar = {"plugin": PLUGIN_NAME_PATTERN}

    @operation(
        "List a plugin's quarantines",
        action="manage.quarantines.read",
        answer=QuarantineShown,
        query=PluginQuarantineQuery,
        is_list=True,
    )
    def get(self, call: Call, plugin: str) -> Answer:
        """Lifted ones included unless the filter says no."""
        rows = scoped_reads.quarantines().filter(plugin_name=scoped_reads.plugin(plugin).name)
        query: PluginQuarantineQuery = call.query
        if query.in_force is not None:
            rows = rows.filter(lifted_at__isnull=query.in_force)
        return Answer(page_of(call.request, rows, query, order=("-id",), show=QuarantineShown.of))

    @operation(
        "Put something under quarantine",
        action="manage.quarantines.write",
        asked=QuarantineAsked,
        answers={200: QuarantineShown, 201: QuarantineShown},
    )
    def post(self, call: Call, asked: QuarantineAsked, plugin: str) -> Answer:
        """It bites within a second. What is under quarantine already is answered with the one it has (200)."""
        entry, is_new = quarantine(
            plugin=scoped_reads.plugin(plugin),
            scope=asked.scope,
            target=asked.target,
            reason=asked.reason,
            actor=call.actor,
            now=call.now,
        )
        body = QuarantineShown.of(entry)
        return created(body, f"/api/plugins/quarantine/{plugin}/{entry.id}") if is_new else shown(body)


class PluginQuarantine(ManageView):
    """One quarantine."""

    path_patterns: ClassVar = {"plugin": PLUGIN_NAME_PATTERN}

    @operation("Get a quarantine", action="manage.quarantines.read", answer=QuarantineShown)
    def get(self, call: Call, plugin: str, quarantine_id: str) -> Answer:
        """Show it."""
        return shown(QuarantineShown.of(scoped_reads.quarantine_of(plugin, quarantine_id)))

    @operation("Lift a quarantine", action="manage.quarantines.write", status=204, is_conditional=True)
    def delete(self, call: Call, plugin: str, quarantine_id: str) -> Answer:
        """In force within a second. Lifting again changes nothing."""
        row = scoped_reads.quarantine_of(plugin, quarantine_id, lock=True)
        call.check_precondition(QuarantineShown.of(row))
        lift_quarantine(entry=row, actor=call.actor, now=call.now)
        return done()


@endpoint("POST")
def report(request: HttpRequest) -> HttpResponse:
    """`POST /api/plugins/report`."""
    credential = bearer_credential(request, header="X-API-Key")
    asked = read_shape(read_object(request), ReportAsked)
    # Read from the database, not from a snapshot: a report is rare, and is not to be made twice.
    outcome = report_compromise(
        asked=asked,
        caller=caller_of(request, credential),
        sent=sent_request(request),
        state=State(None),
        now=time.time(),
    )
    return outcome_response(request, outcome)
