"""`/api/manage/customers/{customer_id}/api-keys/`."""

from accounts import selectors
from accounts.api.api_keys import issue, key_page
from accounts.api.shapes import (
    ApiKeyAsked,
    ApiKeyChanges,
    ApiKeyQuery,
    ApiKeyShown,
    IssuedApiKeyShown,
    RevocationAsked,
    RotationAsked,
)
from accounts.api.views import ManageView
from accounts.services.api_key_changes import update_api_key
from accounts.services.api_keys import revoke_api_key, rotate_api_key
from licensing.core.api.operations import Answer, Call, created, operation, shown
from licensing.core.api.shapes import given


class CustomerApiKeys(ManageView):
    """A customer's API keys."""

    @operation(
        "List a customer's API keys", action="manage.keys.read", answer=ApiKeyShown, query=ApiKeyQuery, is_list=True
    )
    def get(self, call: Call, customer_id: str) -> Answer:
        """Keys that are revoked or expired included."""
        selectors.customer(customer_id)
        return Answer(key_page(call, customer_id))

    @operation("Create an API key", action="manage.keys.write", asked=ApiKeyAsked, answer=IssuedApiKeyShown, status=201)
    def post(self, call: Call, asked: ApiKeyAsked, customer_id: str) -> Answer:
        """The answer holds the key as `key`, this once."""
        return issue(call, asked, selectors.customer(customer_id), f"/api/manage/customers/{customer_id}/api-keys")


class CustomerApiKey(ManageView):
    """One API key."""

    @operation("Get an API key", action="manage.keys.read", answer=ApiKeyShown)
    def get(self, call: Call, customer_id: str, key_id: str) -> Answer:
        """Show it; never the key itself."""
        return shown(ApiKeyShown.of(selectors.api_key(customer_id, key_id)))

    @operation(
        "Change an API key",
        action="manage.keys.write",
        asked=ApiKeyChanges,
        answer=ApiKeyShown,
        is_conditional=True,
        problems=[(409, "CONFLICT")],
    )
    def patch(self, call: Call, asked: ApiKeyChanges, customer_id: str, key_id: str) -> Answer:
        """Change the members that are given."""
        row = selectors.api_key(customer_id, key_id, lock=True)
        call.check_precondition(ApiKeyShown.of(row))
        update_api_key(api_key=row, changes=given(asked), actor=call.actor)
        return shown(ApiKeyShown.of(selectors.api_key(customer_id, key_id)))


class CustomerApiKeyRotation(ManageView):
    """Rotating a key."""

    @operation(
        "Rotate an API key",
        action="manage.keys.write",
        asked=RotationAsked,
        asked_may_be_empty=True,
        answer=IssuedApiKeyShown,
        status=201,
        problems=[(409, "CONFLICT")],
    )
    def post(self, call: Call, asked: RotationAsked, customer_id: str, key_id: str) -> Answer:
        """A successor with the same rights, shown as `key` this once; the old key lives for `overlap_seconds` more."""
        row = selectors.api_key(customer_id, key_id, lock=True)
        issued = rotate_api_key(
            api_key=row, overlap_seconds=asked.overlap_seconds, actor=call.actor, now=call.now, name=asked.name
        )
        body = IssuedApiKeyShown.issued(selectors.api_key(customer_id, issued.api_key.id), issued.key)
        return created(body, f"/api/manage/customers/{customer_id}/api-keys/{body.id}", holds_secret=True)


class CustomerApiKeyRevocation(ManageView):
    """Revoking a key."""

    @operation(
        "Revoke an API key",
        action="manage.keys.write",
        asked=RevocationAsked,
        asked_may_be_empty=True,
        answer=ApiKeyShown,
    )
    def post(self, call: Call, asked: RevocationAsked, customer_id: str, key_id: str) -> Answer:
        """For good, and everywhere within a second. Revoking again changes nothing."""
        row = selectors.api_key(customer_id, key_id, lock=True)
        revoke_api_key(api_key=row, actor=call.actor, now=call.now, reason=asked.reason)
        return shown(ApiKeyShown.of(selectors.api_key(customer_id, key_id)))
