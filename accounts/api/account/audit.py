"""`/api/account/audit/`: what happened to oneself."""

from django.http import StreamingHttpResponse

from accounts.api import audit_log
from accounts.api.shapes import AuditEventShown, AuditExportQuery, AuditQuery
from accounts.api.views import AccountView
from licensing.core.api.operations import Answer, Call, operation
from licensing.core.api.pages import page_of

_MEDIA_TYPES = {"jsonl": "application/jsonl", "csv": "text/csv; charset=utf-8"}


class AccountAudit(AccountView):
    """One's own audit log."""

    @operation("Read your audit log", action="audit.read", answer=AuditEventShown, query=AuditQuery, is_list=True)
    def get(self, call: Call) -> Answer:
        """Newest first. Of the vendor's operators it says only that it was one."""
        rows = audit_log.events(call.query, customer_id=call.customer_id)
        return Answer(page_of(call.request, rows, call.query, order=("-id",), show=AuditEventShown.for_customer))


class AccountAuditExport(AccountView):
    """One's own audit log as a file."""

    @operation(
        "Export your audit log",
        action="audit.read",
        status=200,
        query=AuditExportQuery,
        media_types=("application/jsonl", "text/csv"),
    )
    def get(self, call: Call) -> StreamingHttpResponse:
        """All of it, or what the filters leave, as JSON Lines or CSV, newest first."""
        query: AuditExportQuery = call.query
        rows = audit_log.events(query, customer_id=call.customer_id)
        write = audit_log.csv_lines if query.form == "csv" else audit_log.json_lines
        return StreamingHttpResponse(
            write(rows, AuditEventShown.for_customer),
            content_type=_MEDIA_TYPES[query.form],
            headers={
                "Cache-Control": "no-store",
                "Content-Disposition": f'attachment; filename="audit-{call.customer_id}.{query.form}"',
            },
        )
