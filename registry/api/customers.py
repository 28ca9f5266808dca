"""Registry tokens and policies: `/api/manage/customers/{id}/…` for operators, `/api/account/…` for customers."""

from typing import ClassVar

from accounts import selectors as accounts_selectors
from accounts.api.views import AccountView, ManageView
from accounts.models import CUSTOMER_ID_PATTERN, Customer
from licensing.core.api.operations import Answer, Call, created, operation, shown
from licensing.core.api.pages import page_of
from licensing.core.api.shapes import ListQuery, given
from registry import selectors
from registry.api.manage_shapes import (
    IssuedRegistryTokenShown,
    ManagedPolicyShown,
    PolicyChanges,
    RegistryTokenAsked,
    RegistryTokenRevocation,
    RegistryTokenShown,
)
from registry.models import RegistryToken
from registry.services.policies import effective_policy, set_policy
from registry.services.registry_tokens import issue_registry_token, revoke_registry_token

_ID = r"[a-z0-9_]{1,40}"


class ManagedCustomerView(ManageView):
    """Operators, about one customer."""

    path_patterns: ClassVar = {"customer_id": CUSTOMER_ID_PATTERN, "token_id": _ID}


class OwnView(AccountView):
    """A customer's own."""

    path_patterns: ClassVar = {"token_id": _ID}


class ManagedRegistryTokens(ManagedCustomerView):
    """A customer's registry tokens."""

    @operation(
        "List registry tokens", action="manage.keys.read", answer=RegistryTokenShown, query=ListQuery, is_list=True
    )
    def get(self, call: Call, customer_id: str) -> Answer:
        """The newest first, revoked and expired ones included."""
        return _tokens(call, accounts_selectors.customer(customer_id))

    @operation(
        "Create a registry token",
        action="manage.keys.write",
        asked=RegistryTokenAsked,
        answer=IssuedRegistryTokenShown,
        status=201,
        problems=[(409, "CONFLICT")],
    )
    def post(self, call: Call, asked: RegistryTokenAsked, customer_id: str) -> Answer:
        """The answer holds the token as `token`, this once."""
        customer = accounts_selectors.customer(customer_id)
        return _issue(call, asked, customer, f"/api/manage/customers/{customer_id}/registry-tokens")


class ManagedRegistryToken(ManagedCustomerView):
    """One registry token."""

    @operation("Get a registry token", action="manage.keys.read", answer=RegistryTokenShown)
    def get(self, call: Call, customer_id: str, token_id: str) -> Answer:
        """What it may do, and what it did; never the token itself."""
        return shown(RegistryTokenShown.of(selectors.registry_token(customer_id, token_id)))


class ManagedRegistryTokenRevocation(ManagedCustomerView):
    """Revoking a registry token."""

    @operation(
        "Revoke a registry token",
        action="manage.keys.write",
        asked=RegistryTokenRevocation,
        asked_may_be_empty=True,
        answer=RegistryTokenShown,
    )
    def post(self, call: Call, asked: RegistryTokenRevocation, customer_id: str, token_id: str) -> Answer:
        """For good, with every download URL it was given. Revoking again changes nothing."""
        return _revoke(call, asked, customer_id, token_id)


class ManagedPolicy(ManagedCustomerView):
    """A customer's policy."""

    @operation("Get a customer's policy", action="manage.customers.read", answer=ManagedPolicyShown)
    def get(self, call: Call, customer_id: str) -> Answer:
        """As it holds now, and as it was signed."""
        return shown(_policy(accounts_selectors.customer(customer_id).pk))

    @operation(
        "Change a customer's policy",
        action="manage.customers.write",
        asked=PolicyChanges,
        answer=ManagedPolicyShown,
        is_conditional=True,
    )
    def patch(self, call: Call, asked: PolicyChanges, customer_id: str) -> Answer:
        """We enforce it from now on; hosts have it signed a moment later."""
        return _change_policy(call, asked, accounts_selectors.customer(customer_id, lock=True))


class OwnRegistryTokens(OwnView):
    """The customer's registry tokens."""

    @operation(
        "List your registry tokens", action="registry.read", answer=RegistryTokenShown, query=ListQuery, is_list=True
    )
    def get(self, call: Call) -> Answer:
        """The newest first, revoked and expired ones included."""
        return _tokens(call, accounts_selectors.customer(call.customer_id))

    @operation(
        "Create a registry token of yours",
        action="registry.write",
        asked=RegistryTokenAsked,
        answer=IssuedRegistryTokenShown,
        status=201,
        problems=[(409, "CONFLICT")],
    )
    def post(self, call: Call, asked: RegistryTokenAsked) -> Answer:
        """The answer holds the token as `token`, this once."""
        customer = accounts_selectors.customer(call.customer_id)
        return _issue(call, asked, customer, "/api/account/registry-tokens")


class OwnRegistryToken(OwnView):
    """One registry token."""

    @operation("Get a registry token of yours", action="registry.read", answer=RegistryTokenShown)
    def get(self, call: Call, token_id: str) -> Answer:
        """What it may do, and what it did; never the token itself."""
        return shown(RegistryTokenShown.of(selectors.registry_token(call.customer_id, token_id)))


class OwnRegistryTokenRevocation(OwnView):
    """Revoking a registry token."""

    @operation(
        "Revoke a registry token of yours",
        action="registry.write",
        asked=RegistryTokenRevocation,
        asked_may_be_empty=True,
        answer=RegistryTokenShown,
    )
    def post(self, call: Call, asked: RegistryTokenRevocation, token_id: str) -> Answer:
        """For good, with every download URL it was given. Revoking again changes nothing."""
        return _revoke(call, asked, call.customer_id, token_id)


class OwnPolicy(OwnView):
    """The customer's policy."""

    @operation("Get your policy", action="registry.read", answer=ManagedPolicyShown)
    def get(self, call: Call) -> Answer:
        """As it holds now, and as it was signed."""
        return shown(_policy(call.customer_id))

    @operation(
        "Change your policy",
        action="registry.write",
        asked=PolicyChanges,
        answer=ManagedPolicyShown,
        is_conditional=True,
    )
    def patch(self, call: Call, asked: PolicyChanges) -> Answer:
        """We enforce it from now on; hosts have it signed a moment later."""
        return _change_policy(call, asked, accounts_selectors.customer(call.customer_id, lock=True))


def _tokens(call: Call, customer: Customer) -> Answer:
    rows = RegistryToken.objects.filter(customer=customer)
    order = ("-created_at", "-id")
    return Answer(page_of(call.request, rows, call.query, order=order, show=RegistryTokenShown.of))


def _issue(call: Call, asked: RegistryTokenAsked, customer: Customer, collection: str) -> Answer:
    issued = issue_registry_token(
        customer=customer,
        name=asked.name,
        expires_at=asked.expires_at,
        plugins=asked.plugins,
        max_downloads=asked.max_downloads,
        max_bytes=asked.max_bytes,
        actor=call.actor,
        now=call.now,
    )
    body = IssuedRegistryTokenShown.issued(selectors.registry_token(customer.pk, issued.row.id), issued.token)
    return created(body, f"{collection}/{body.id}", holds_secret=True)


def _revoke(call: Call, asked: RegistryTokenRevocation, customer_id: str, token_id: str) -> Answer:
    row = selectors.registry_token(customer_id, token_id)
    row = revoke_registry_token(row=row, actor=call.actor, now=call.now, reason=asked.reason)
    return shown(RegistryTokenShown.of(row))


def _change_policy(call: Call, asked: PolicyChanges, customer: Customer) -> Answer:
    call.check_precondition(_policy(customer.pk))
    set_policy(customer=customer, changes=given(asked), actor=call.actor, now=call.now)
    return shown(_policy(customer.pk))


def _policy(customer_id: str) -> ManagedPolicyShown:
    return ManagedPolicyShown.of(effective_policy(customer_id), selectors.signed_policy(customer_id))
