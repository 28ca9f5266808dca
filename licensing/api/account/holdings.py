"""`/api/account/…`: what a customer has, as it sees it itself."""

from accounts.api.views import AccountView
from licensing import scoped_reads
from licensing.api.explaining import explanation
from licensing.api.listings import entitlement_page, installation_page
from licensing.api.shapes import (
    EntitlementQuery,
    EntitlementShown,
    ExplainQuery,
    InstallationQuery,
    InstallationShown,
    SubscriptionShown,
)
from licensing.core.api.operations import Answer, Call, operation, shown
from licensing.core.errors import NotFound
from licensing.services.explain import ExplanationShown
from licensing.services.installations import release_installation


class AccountSubscription(AccountView):
    """One's own subscription."""

    @operation(
        "Get your subscription",
        action="subscription.read",
        answer=SubscriptionShown,
        problems=[(404, "NOT_FOUND")],
    )
    def get(self, call: Call) -> Answer:
        """With how it stands at this instant."""
        row = scoped_reads.subscription(call.customer_id)
        if row is None:
            raise NotFound("There is no subscription.")
        return shown(SubscriptionShown.of(row, call.now))


class AccountEntitlements(AccountView):
    """One's own overrides and temporary grants."""

    @operation(
        "List your entitlements",
        action="entitlements.read",
        answer=EntitlementShown,
        query=EntitlementQuery,
        is_list=True,
    )
    def get(self, call: Call) -> Answer:
        """What the tier grants is not among them: ask `explain`."""
        return Answer(entitlement_page(call, call.customer_id))


class AccountExplanation(AccountView):
    """Why, or why not."""

    @operation(
        "Explain what you may use",
        action="entitlements.read",
        answer=ExplanationShown,
        query=ExplainQuery,
        problems=[(404, "NOT_FOUND")],
    )
    def get(self, call: Call) -> Answer:
        """What decides a feature, what would be without it, and the verdict the plugin API would give now."""
        return explanation(call, call.customer_id, for_customer=True)


class AccountInstallations(AccountView):
    """One's own installations."""

    @operation(
        "List your installations",
        action="installations.read",
        answer=InstallationShown,
        query=InstallationQuery,
        is_list=True,
    )
    def get(self, call: Call) -> Answer:
        """Last seen first; released ones included unless the filter says no."""
        return Answer(installation_page(call, call.customer_id))


class AccountInstallation(AccountView):
    """One of one's own installations."""

    @operation("Get an installation", action="installations.read", answer=InstallationShown)
    def get(self, call: Call, installation_id: str) -> Answer:
        """Show it."""
        return shown(InstallationShown.of(scoped_reads.installation(call.customer_id, installation_id)))


class AccountInstallationRelease(AccountView):
    """Releasing an installation."""

    @operation("Release an installation", action="installations.write", answer=InstallationShown)
    def post(self, call: Call, installation_id: str) -> Answer:
        """Its tokens are refused from now on; its place is free once the lease it may hold has run out."""
        row = scoped_reads.installation(call.customer_id, installation_id)
        row = release_installation(installation=row, reason="customer", confirmed=False, actor=call.actor, now=call.now)
        return shown(InstallationShown.of(row))
