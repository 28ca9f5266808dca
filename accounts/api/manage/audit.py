"""`/api/manage/audit/`: everything that happened, to whomever."""

from accounts.api import audit_log
from accounts.api.shapes import AuditEventShown, ManageAuditQuery
from accounts.api.views import ManageView
from licensing.core.api.operations import Answer, Call, operation
from licensing.core.api.pages import page_of


class AuditLog(ManageView):
    """The audit log."""

    @operation(
        "Read the audit log",
        action="manage.audit.read",
        answer=AuditEventShown,
        query=ManageAuditQuery,
        is_list=True,
    )
    def get(self, call: Call) -> Answer:
        """Newest first."""
        query: ManageAuditQuery = call.query
        rows = audit_log.events(query, customer_id=query.customer)
        if query.request_id:
            rows = rows.filter(request_id=query.request_id)
        return Answer(page_of(call.request, rows, query, order=("-id",), show=AuditEventShown.of))
