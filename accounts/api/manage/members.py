"""`/api/manage/customers/{customer_id}/members/`: a customer's people, as the vendor sees and helps them."""

from accounts import selectors
from accounts.api.members import invitation_page, member_page
from accounts.api.shapes import InvitationShown, MemberAsked, MemberShown, RoleAsked
from accounts.api.views import ManageView
from accounts.services.invitations import invite_member, withdraw_invitation
from accounts.services.memberships import change_role, remove_member
from licensing.core.api.operations import Answer, Call, created, done, operation, shown
from licensing.core.api.shapes import ListQuery


class CustomerMembers(ManageView):
    """The people of an organisation."""

    @operation(
        "List a customer's people", action="manage.members.read", answer=MemberShown, query=ListQuery, is_list=True
    )
    def get(self, call: Call, customer_id: str) -> Answer:
        """Those who were invited and have not come yet are under invitations."""
        selectors.customer(customer_id)
        return Answer(member_page(call, customer_id))

    @operation(
        "Invite a person",
        action="manage.members.write",
        asked=MemberAsked,
        answer=InvitationShown,
        status=201,
        problems=[(409, "CONFLICT")],
    )
    def post(self, call: Call, asked: MemberAsked, customer_id: str) -> Answer:
        """A mail with the link goes out; the person is a member once they have followed it."""
        customer = selectors.customer(customer_id)
        row = invite_member(customer=customer, email=asked.email, role=asked.role, actor=call.actor, now=call.now)
        return created(InvitationShown.of(row), f"/api/manage/customers/{customer_id}/invitations/{row.id}")


class CustomerMember(ManageView):
    """One person of an organisation."""

    @operation("Get a person's role", action="manage.members.read", answer=MemberShown)
    def get(self, call: Call, customer_id: str, member_id: str) -> Answer:
        """Show it."""
        return shown(MemberShown.of(selectors.membership(customer_id, member_id)))

    @operation(
        "Change a person's role",
        action="manage.members.write",
        asked=RoleAsked,
        answer=MemberShown,
        is_conditional=True,
        problems=[(409, "CONFLICT")],
    )
    def patch(self, call: Call, asked: RoleAsked, customer_id: str, member_id: str) -> Answer:
        """The last owner stays one."""
        row = selectors.membership(customer_id, member_id, lock=True)
        call.check_precondition(MemberShown.of(row))
        return shown(MemberShown.of(change_role(membership=row, role=asked.role, actor=call.actor)))

    @operation(
        "Remove a person",
        action="manage.members.write",
        status=204,
        is_conditional=True,
        problems=[(409, "CONFLICT")],
    )
    def delete(self, call: Call, customer_id: str, member_id: str) -> Answer:
        """Take them out of the organisation; the last owner stays."""
        row = selectors.membership(customer_id, member_id, lock=True)
        call.check_precondition(MemberShown.of(row))
        remove_member(membership=row, actor=call.actor)
        return done()


class CustomerInvitations(ManageView):
    """Invitations that wait."""

    @operation(
        "List a customer's invitations",
        action="manage.members.read",
        answer=InvitationShown,
        query=ListQuery,
        is_list=True,
    )
    def get(self, call: Call, customer_id: str) -> Answer:
        """Lapsed ones included."""
        selectors.customer(customer_id)
        return Answer(invitation_page(call, customer_id))


class CustomerInvitation(ManageView):
    """One invitation."""

    @operation("Get an invitation", action="manage.members.read", answer=InvitationShown)
    def get(self, call: Call, customer_id: str, invitation_id: str) -> Answer:
        """Show it."""
        return shown(InvitationShown.of(selectors.invitation(customer_id, invitation_id)))

    @operation("Withdraw an invitation", action="manage.members.write", status=204, is_conditional=True)
    def delete(self, call: Call, customer_id: str, invitation_id: str) -> Answer:
        """Its link is good for nothing from then on."""
        row = selectors.invitation(customer_id, invitation_id, lock=True)
        call.check_precondition(InvitationShown.of(row))
        withdraw_invitation(invitation=row, actor=call.actor, now=call.now)
        return done()
