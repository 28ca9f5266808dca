"""`/api/manage/customers/`: the organisations that buy."""

from django.db.models import Q

from accounts import selectors
from accounts.api.shapes import (
    CustomerAsked,
    CustomerBatchAsked,
    CustomerBatchShown,
    CustomerChanges,
    CustomerQuery,
    CustomerShown,
    SuspensionAsked,
)
from accounts.api.views import ManageView
from accounts.models import Customer
from accounts.services.customer_changes import apply_customers, make_customer, update_customer
from accounts.services.customers import remove_customer, resume_customer, suspend_customer
from licensing.core.api.operations import Answer, Call, created, done, operation, shown
from licensing.core.api.pages import page_of
from licensing.core.api.shapes import given

_BATCH_BYTES = 1024 * 1024
ORDERS = {
    "id": ("id",),
    "-id": ("-id",),
    "created_at": ("created_at", "id"),
    "-created_at": ("-created_at", "-id"),
}


class Customers(ManageView):
    """All customers."""

    @operation(
        "List customers", action="manage.customers.read", answer=CustomerShown, query=CustomerQuery, is_list=True
    )
    def get(self, call: Call) -> Answer:
        """Find customers by how their id or name starts."""
        query: CustomerQuery = call.query
        rows = Customer.objects.all()
        if query.search:
            rows = rows.filter(Q(id__startswith=query.search) | Q(name__istartswith=query.search))
        if query.is_suspended is not None:
            rows = rows.filter(suspended_at__isnull=not query.is_suspended)
        return Answer(page_of(call.request, rows, query, order=ORDERS[query.ordering], show=CustomerShown.of))

    @operation(
        "Create a customer",
        action="manage.customers.write",
        asked=CustomerAsked,
        answer=CustomerShown,
        status=201,
        problems=[(409, "CONFLICT")],
    )
    def post(self, call: Call, asked: CustomerAsked) -> Answer:
        """Make a customer under an id that nobody has or ever had."""
        settings = {name: getattr(asked, name) for name in asked.__struct_fields__ if name not in ("id", "name")}
        row = make_customer(customer_id=asked.id, name=asked.name, settings=settings, actor=call.actor)
        row.refresh_from_db()
        return created(CustomerShown.of(row), f"/api/manage/customers/{row.id}")


class CustomerBatch(ManageView):
    """Many customers at once."""

    @operation(
        "Create and change many customers, all or none",
        action="manage.customers.write",
        asked=CustomerBatchAsked,
        answer=CustomerBatchShown,
        max_bytes=_BATCH_BYTES,
        problems=[(400, "BATCH_REFUSED")],
    )
    def post(self, call: Call, asked: CustomerBatchAsked) -> Answer:
        """Errors name each entry by its place, such as `create[3].id`."""
        made, changed = apply_customers(
            create=[given(entry) for entry in asked.create],
            update=[given(entry) for entry in asked.update],
            actor=call.actor,
        )
        rows = {row.pk: row for row in Customer.objects.filter(pk__in=[row.pk for row in (*made, *changed)])}
        return Answer(
            CustomerBatchShown(
                created=[CustomerShown.of(rows[row.pk]) for row in made],
                updated=[CustomerShown.of(rows[row.pk]) for row in changed],
            )
        )


class OneCustomer(ManageView):
    """One customer."""

    @operation("Get a customer", action="manage.customers.read", answer=CustomerShown)
    def get(self, call: Call, customer_id: str) -> Answer:
        """Show it, with its entity tag."""
        return shown(CustomerShown.of(selectors.customer(customer_id)))

    @operation(
        "Change a customer",
        action="manage.customers.write",
        asked=CustomerChanges,
        answer=CustomerShown,
        is_conditional=True,
    )
    def patch(self, call: Call, asked: CustomerChanges, customer_id: str) -> Answer:
        """Change the members that are given."""
        row = selectors.customer(customer_id, lock=True)
        call.check_precondition(CustomerShown.of(row))
        return shown(CustomerShown.of(update_customer(customer=row, changes=given(asked), actor=call.actor)))

    @operation(
        "Remove a customer",
        action="manage.customers.write",
        status=204,
        is_conditional=True,
        problems=[(409, "CONFLICT")],
    )
    def delete(self, call: Call, customer_id: str) -> Answer:
        """Remove it and all that is its own, for good; the audit log stays, and its id is never given again."""
        row = selectors.customer(customer_id, lock=True)
        call.check_precondition(CustomerShown.of(row))
        remove_customer(customer=row, actor=call.actor)
        return done()


class CustomerSuspension(ManageView):
    """Stopping a customer."""

    @operation(
        "Suspend a customer",
        action="manage.customers.write",
        asked=SuspensionAsked,
        asked_may_be_empty=True,
        answer=CustomerShown,
    )
    def post(self, call: Call, asked: SuspensionAsked, customer_id: str) -> Answer:
        """Every decision for it is CUSTOMER_SUSPENDED within a second. Suspending again changes nothing."""
        row = selectors.customer(customer_id, lock=True)
        row = suspend_customer(customer=row, reason=asked.reason, actor=call.actor, now=call.now)
        return shown(CustomerShown.of(row))


class CustomerResumption(ManageView):
    """Taking a suspension back."""

    @operation("Resume a customer", action="manage.customers.write", answer=CustomerShown)
    def post(self, call: Call, customer_id: str) -> Answer:
        """Resuming one that is not suspended changes nothing."""
        row = selectors.customer(customer_id, lock=True)
        return shown(CustomerShown.of(resume_customer(customer=row, actor=call.actor)))
