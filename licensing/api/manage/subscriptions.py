"""`/api/manage/customers/{customer_id}/subscription`: what the billing side says."""

from accounts import selectors
from accounts.api.views import ManageView
from accounts.models import Customer
from licensing import scoped_reads
from licensing.api.shapes import SubscriptionAsked, SubscriptionChanges, SubscriptionShown
from licensing.core.api.operations import Answer, Call, created, operation, shown
from licensing.core.api.shapes import given
from licensing.core.errors import InvalidValue, NotFound
from licensing.models import Subscription, Tier
from licensing.services.subscriptions import set_subscription

_MEMBERS = ("status", "period_start", "period_end", "grace_until", "installation_limit")


class CustomerSubscription(ManageView):
    """One customer's subscription."""

    @operation("Get a subscription", action="manage.subscriptions.read", answer=SubscriptionShown)
    def get(self, call: Call, customer_id: str) -> Answer:
        """With how it stands at this instant."""
        selectors.customer(customer_id)
        return shown(SubscriptionShown.of(_present(scoped_reads.subscription(customer_id)), call.now))

    @operation(
        "Set a subscription",
        action="manage.subscriptions.write",
        asked=SubscriptionAsked,
        answers={200: SubscriptionShown, 201: SubscriptionShown},
        is_conditional=True,
        problems=[(400, "INVALID_VALUE")],
    )
    def put(self, call: Call, asked: SubscriptionAsked, customer_id: str) -> Answer:
        """Make it exactly this; in force within a second."""
        owner = selectors.customer(customer_id, lock=True)
        before = scoped_reads.subscription(customer_id, lock=True)
        call.check_precondition(SubscriptionShown.of(before, call.now) if before else None)
        body = _set(call, owner, asked.tier, {name: getattr(asked, name) for name in _MEMBERS})
        return shown(body) if before else created(body, f"/api/manage/customers/{customer_id}/subscription")

    @operation(
        "Change a subscription",
        action="manage.subscriptions.write",
        asked=SubscriptionChanges,
        answer=SubscriptionShown,
        is_conditional=True,
        problems=[(400, "INVALID_VALUE")],
    )
    def patch(self, call: Call, asked: SubscriptionChanges, customer_id: str) -> Answer:
        """Change the members that are given; in force within a second."""
        owner = selectors.customer(customer_id, lock=True)
        before = _present(scoped_reads.subscription(customer_id, lock=True))
        call.check_precondition(SubscriptionShown.of(before, call.now))
        changes = given(asked)
        tier = changes.pop("tier", before.tier_id)
        return shown(_set(call, owner, tier, {name: getattr(before, name) for name in _MEMBERS} | changes))


def _present(row: Subscription | None) -> Subscription:
    if row is None:
        raise NotFound("The customer has no subscription.")
    return row


def _set(call: Call, owner: Customer, tier_name: str, members: dict[str, object]) -> SubscriptionShown:
    tier = Tier.objects.filter(pk=tier_name).first()
    if tier is None:
        raise InvalidValue("tier: there is no such tier.", field="tier")
    set_subscription(customer=owner, tier=tier, actor=call.actor, **members)  # type: ignore[arg-type]
    return SubscriptionShown.of(_present(scoped_reads.subscription(owner.pk)), call.now)
