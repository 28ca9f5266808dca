"""`/api/manage/customers/{customer_id}/entitlements/` and `…/explain`."""

from accounts import selectors
from accounts.api.views import ManageView
from licensing import scoped_reads
from licensing.api.explaining import explanation
from licensing.api.listings import entitlement_page
from licensing.api.shapes import (
    EntitlementAsked,
    EntitlementBatchAsked,
    EntitlementBatchShown,
    EntitlementChanges,
    EntitlementQuery,
    EntitlementShown,
    ExplainQuery,
)
from licensing.core.api.operations import Answer, Call, created, done, operation, shown
from licensing.core.api.shapes import given
from licensing.services.entitlement_changes import add_entitlement, apply_entitlements, update_entitlement
from licensing.services.entitlements import remove_entitlement
from licensing.services.explain import ExplanationShown


class CustomerEntitlements(ManageView):
    """A customer's overrides and temporary grants."""

    @operation(
        "List a customer's entitlements",
        action="manage.entitlements.read",
        answer=EntitlementShown,
        query=EntitlementQuery,
        is_list=True,
    )
    def get(self, call: Call, customer_id: str) -> Answer:
        """What its tier grants is not among them: ask `explain`."""
        selectors.customer(customer_id)
        return Answer(entitlement_page(call, customer_id))

    @operation(
        "Grant a feature",
        action="manage.entitlements.write",
        asked=EntitlementAsked,
        answer=EntitlementShown,
        status=201,
    )
    def post(self, call: Call, asked: EntitlementAsked, customer_id: str) -> Answer:
        """An override, or with `ends_at` a temporary grant; starts and ends at its instants, without any job."""
        owner = selectors.customer(customer_id)
        row = add_entitlement(customer=owner, wanted=given(asked), actor=call.actor, now=call.now)
        body = EntitlementShown.of(scoped_reads.entitlement(customer_id, row.id))
        return created(body, f"/api/manage/customers/{customer_id}/entitlements/{row.id}")


class CustomerEntitlementBatch(ManageView):
    """Many entitlements of a customer at once."""

    @operation(
        "Grant and change many entitlements, all or none",
        action="manage.entitlements.write",
        asked=EntitlementBatchAsked,
        answer=EntitlementBatchShown,
        max_bytes=1024 * 1024,
        problems=[(400, "BATCH_REFUSED")],
    )
    def post(self, call: Call, asked: EntitlementBatchAsked, customer_id: str) -> Answer:
        """Errors name each entry by its place, such as `create[3].feature`."""
        added, changed = apply_entitlements(
            customer=selectors.customer(customer_id),
            create=[given(entry) for entry in asked.create],
            update=[given(entry) for entry in asked.update],
            actor=call.actor,
            now=call.now,
        )
        ids = [row.id for row in (*added, *changed)]
        rows = {row.id: row for row in scoped_reads.entitlements_of(customer_id).filter(pk__in=ids)}
        return Answer(
            EntitlementBatchShown(
                created=[EntitlementShown.of(rows[row.id]) for row in added],
                updated=[EntitlementShown.of(rows[row.id]) for row in changed],
            )
        )


class CustomerEntitlement(ManageView):
    """One entitlement."""

    @operation("Get an entitlement", action="manage.entitlements.read", answer=EntitlementShown)
    def get(self, call: Call, customer_id: str, entitlement_id: str) -> Answer:
        """Show it."""
        return shown(EntitlementShown.of(scoped_reads.entitlement(customer_id, entitlement_id)))

    @operation(
        "Change an entitlement",
        action="manage.entitlements.write",
        asked=EntitlementChanges,
        answer=EntitlementShown,
        is_conditional=True,
    )
    def patch(self, call: Call, asked: EntitlementChanges, customer_id: str, entitlement_id: str) -> Answer:
        """Change the members that are given."""
        row = scoped_reads.entitlement(customer_id, entitlement_id, lock=True)
        call.check_precondition(EntitlementShown.of(row))
        row = update_entitlement(entitlement=row, changes=given(asked), actor=call.actor)
        return shown(EntitlementShown.of(row))

    @operation("Remove an entitlement", action="manage.entitlements.write", status=204, is_conditional=True)
    def delete(self, call: Call, customer_id: str, entitlement_id: str) -> Answer:
        """What the tier grants then holds again."""
        row = scoped_reads.entitlement(customer_id, entitlement_id, lock=True)
        call.check_precondition(EntitlementShown.of(row))
        remove_entitlement(entitlement=row, actor=call.actor)
        return done()


class CustomerExplanation(ManageView):
    """Why, or why not."""

    @operation(
        "Explain what a customer may use",
        action="manage.entitlements.read",
        answer=ExplanationShown,
        query=ExplainQuery,
    )
    def get(self, call: Call, customer_id: str) -> Answer:
        """What decides a feature, what would be without it, and the verdict the plugin API would give now."""
        return explanation(call, customer_id, for_customer=False)
