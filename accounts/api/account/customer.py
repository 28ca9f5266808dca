"""`/api/account/customer`: who one is."""

from accounts import selectors
from accounts.api.shapes import CustomerShown
from accounts.api.views import AccountView
from licensing.core.api.operations import Answer, Call, operation, shown


class AccountCustomer(AccountView):
    """The customer itself."""

    @operation("Get your own customer", action="customer.read", answer=CustomerShown)
    def get(self, call: Call) -> Answer:
        """Show it."""
        return shown(CustomerShown.of(selectors.customer(call.customer_id)))
