"""What the management API and the account API do alike with people."""

from accounts import selectors
from accounts.api.shapes import InvitationShown, MemberShown
from licensing.core.api.operations import Call
from licensing.core.api.pages import Page, page_of


def member_page(call: Call, customer_id: str) -> Page:
    """A page of an organisation's people, in the order they came."""
    rows = selectors.memberships_of(customer_id)
    return page_of(call.request, rows, call.query, order=("id",), show=MemberShown.of)


def invitation_page(call: Call, customer_id: str) -> Page:
    """A page of waiting invitations, oldest first."""
    rows = selectors.invitations_of(customer_id)
    return page_of(call.request, rows, call.query, order=("id",), show=InvitationShown.of)
