"""`/api/account/members/`: an organisation's own people. Only people change anything here, never a key."""

from accounts import selectors
from accounts.api.members import invitation_page, member_page
from accounts.api.shapes import InvitationShown, MemberAsked, MemberShown, RoleAsked
from accounts.api.views import AccountView
from accounts.models import Role
from accounts.services.invitations import invite_member, withdraw_invitation
from accounts.services.memberships import change_role, remove_member
from licensing.core.api.operations import Answer, Call, created, done, operation, shown
from licensing.core.api.shapes import ListQuery


class AccountMembers(AccountView):
    """The people of one's organisation."""

    @operation("List your people", action="members.read", answer=MemberShown, query=ListQuery, is_list=True)
    def get(self, call: Call) -> Answer:
        """Those who were invited and have not come yet are under invitations."""
        return Answer(member_page(call, call.customer_id))

    @operation(
        "Invite a person",
        action="members.write",
        asked=MemberAsked,
        answer=InvitationShown,
        status=201,
        problems=[(409, "CONFLICT")],
    )
    def post(self, call: Call, asked: MemberAsked) -> Answer:
        """A mail with the link goes out. Only owners invite owners."""
        _require_owner_for(call, asked.role)
        customer = selectors.customer(call.customer_id)
        row = invite_member(customer=customer, email=asked.email, role=asked.role, actor=call.actor, now=call.now)
        return created(InvitationShown.of(row), f"/api/account/invitations/{row.id}")


class AccountMember(AccountView):
    """One person of one's organisation."""

    @operation("Get a person's role", action="members.read", answer=MemberShown)
    def get(self, call: Call, member_id: str) -> Answer:
        """Show it."""
        return shown(MemberShown.of(selectors.membership(call.customer_id, member_id)))

    @operation(
        "Change a person's role",
        action="members.write",
        asked=RoleAsked,
        answer=MemberShown,
        is_conditional=True,
        problems=[(409, "CONFLICT")],
    )
    def patch(self, call: Call, asked: RoleAsked, member_id: str) -> Answer:
        """Only owners make owners, or make them something else; the last owner stays one."""
        row = selectors.membership(call.customer_id, member_id, lock=True)
        call.check_precondition(MemberShown.of(row))
        _require_owner_for(call, asked.role, row.role)
        return shown(MemberShown.of(change_role(membership=row, role=asked.role, actor=call.actor)))

    @operation(
        "Remove a person",
        action="members.write",
        status=204,
        is_conditional=True,
        problems=[(409, "CONFLICT")],
    )
    def delete(self, call: Call, member_id: str) -> Answer:
        """Only owners remove owners; the last owner stays."""
        row = selectors.membership(call.customer_id, member_id, lock=True)
        call.check_precondition(MemberShown.of(row))
        _require_owner_for(call, row.role)
        remove_member(membership=row, actor=call.actor)
        return done()


class AccountInvitations(AccountView):
    """Invitations that wait."""

    @operation("List your invitations", action="members.read", answer=InvitationShown, query=ListQuery, is_list=True)
    def get(self, call: Call) -> Answer:
        """Lapsed ones included."""
        return Answer(invitation_page(call, call.customer_id))


class AccountInvitation(AccountView):
    """One invitation."""

    @operation("Get an invitation", action="members.read", answer=InvitationShown)
    def get(self, call: Call, invitation_id: str) -> Answer:
        """Show it."""
        return shown(InvitationShown.of(selectors.invitation(call.customer_id, invitation_id)))

    @operation("Withdraw an invitation", action="members.write", status=204, is_conditional=True)
    def delete(self, call: Call, invitation_id: str) -> Answer:
        """Its link is good for nothing from then on."""
        row = selectors.invitation(call.customer_id, invitation_id, lock=True)
        call.check_precondition(InvitationShown.of(row))
        _require_owner_for(call, row.role)
        withdraw_invitation(invitation=row, actor=call.actor, now=call.now)
        return done()


def _require_owner_for(call: Call, *roles: str) -> None:
    if Role.OWNER in roles:
        call.principal.require("owners.write")
