"""The routes of `accounts`."""

from accounts.api.account import audit as account_audit
from accounts.api.account import customer as account_customer
from accounts.api.account import keys as account_keys
from accounts.api.account import members as account_members
from accounts.api.manage import api_keys, audit, customers, members, operators
from licensing.core.api.routes import route

_CUSTOMER = "api/manage/customers/<customer_id>"

urlpatterns = [
    route("api/manage/customers/", customers.Customers.as_view(), "manage-customers"),
    route("api/manage/bulk/customers", customers.CustomerBatch.as_view(), "manage-customer-batch"),
    route(_CUSTOMER, customers.OneCustomer.as_view(), "manage-customer"),
    route(f"{_CUSTOMER}/suspend", customers.CustomerSuspension.as_view(), "manage-customer-suspend"),
    route(f"{_CUSTOMER}/resume", customers.CustomerResumption.as_view(), "manage-customer-resume"),
    route(f"{_CUSTOMER}/api-keys/", api_keys.CustomerApiKeys.as_view(), "manage-api-keys"),
    route(f"{_CUSTOMER}/api-keys/<key_id>", api_keys.CustomerApiKey.as_view(), "manage-api-key"),
    route(f"{_CUSTOMER}/api-keys/<key_id>/rotate", api_keys.CustomerApiKeyRotation.as_view(), "manage-api-key-rotate"),
    route(
        f"{_CUSTOMER}/api-keys/<key_id>/revoke", api_keys.CustomerApiKeyRevocation.as_view(), "manage-api-key-revoke"
    ),
    route(f"{_CUSTOMER}/members/", members.CustomerMembers.as_view(), "manage-members"),
    route(f"{_CUSTOMER}/members/<member_id>", members.CustomerMember.as_view(), "manage-member"),
    route(f"{_CUSTOMER}/invitations/", members.CustomerInvitations.as_view(), "manage-invitations"),
    route(f"{_CUSTOMER}/invitations/<invitation_id>", members.CustomerInvitation.as_view(), "manage-invitation"),
    route("api/manage/operators/", operators.Operators.as_view(), "manage-operators"),
    route("api/manage/operators/<operator_id>", operators.OneOperator.as_view(), "manage-operator"),
    route("api/manage/operators/<operator_id>/keys/", operators.OperatorKeys.as_view(), "manage-operator-keys"),
    route(
        "api/manage/operators/<operator_id>/keys/<key_id>", operators.OneOperatorKey.as_view(), "manage-operator-key"
    ),
    route(
        "api/manage/operators/<operator_id>/keys/<key_id>/revoke",
        operators.OperatorKeyRevocation.as_view(),
        "manage-operator-key-revoke",
    ),
    route("api/manage/audit/", audit.AuditLog.as_view(), "manage-audit"),
    route("api/account/customer", account_customer.AccountCustomer.as_view(), "account-customer"),
    route("api/account/api-keys/", account_keys.AccountApiKeys.as_view(), "account-api-keys"),
    route("api/account/api-keys/<key_id>", account_keys.AccountApiKey.as_view(), "account-api-key"),
    route(
        "api/account/api-keys/<key_id>/rotate", account_keys.AccountApiKeyRotation.as_view(), "account-api-key-rotate"
    ),
    route(
        "api/account/api-keys/<key_id>/revoke",
        account_keys.AccountApiKeyRevocation.as_view(),
        "account-api-key-revoke",
    ),
    route("api/account/members/", account_members.AccountMembers.as_view(), "account-members"),
    route("api/account/members/<member_id>", account_members.AccountMember.as_view(), "account-member"),
    route("api/account/invitations/", account_members.AccountInvitations.as_view(), "account-invitations"),
    route("api/account/invitations/<invitation_id>", account_members.AccountInvitation.as_view(), "account-invitation"),
    route("api/account/audit/", account_audit.AccountAudit.as_view(), "account-audit"),
    route("api/account/audit/export", account_audit.AccountAuditExport.as_view(), "account-audit-export"),
]
