"""Tables of `accounts`, one module a subject."""

from accounts.models.api_key import SCOPES, ApiKey, ApiKeyUse, OperatorKey
from accounts.models.customer import CUSTOMER_ID_PATTERN, Customer, RetiredCustomerId
from accounts.models.invitation import Invitation
from accounts.models.person import Membership, Role, User

__all__ = [
    "CUSTOMER_ID_PATTERN",
    "SCOPES",
    "ApiKey",
    "ApiKeyUse",
    "Customer",
    "Invitation",
    "Membership",
    "OperatorKey",
    "RetiredCustomerId",
    "Role",
    "User",
]
