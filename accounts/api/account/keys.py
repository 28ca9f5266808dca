"""`/api/account/api-keys/`: a customer's own keys."""

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
from accounts.api.views import AccountView
from accounts.models import ApiKey
from accounts.services.api_key_changes import Rights, require_within, update_api_key
from accounts.services.api_keys import DEFAULT_SCOPES, revoke_api_key, rotate_api_key
from licensing.core.api.operations import Answer, Call, created, operation, shown
from licensing.core.api.shapes import given

_COLLECTION = "/api/account/api-keys"


class AccountApiKeys(AccountView):
    """One's own API keys."""

    @operation("List your API keys", action="keys.read", answer=ApiKeyShown, query=ApiKeyQuery, is_list=True)
    def get(self, call: Call) -> Answer:
        """Keys that are revoked or expired included."""
        return Answer(key_page(call, call.customer_id))

    @operation("Create an API key", action="keys.write", asked=ApiKeyAsked, answer=IssuedApiKeyShown, status=201)
    def post(self, call: Call, asked: ApiKeyAsked) -> Answer:
        """The answer holds the key as `key`, this once. A key hands on no more than it has itself."""
        own = own_rights(call)
        if own is not None:
            scopes = DEFAULT_SCOPES if asked.scopes is None else asked.scopes
            require_within(
                Rights.asked(mode=asked.mode, scopes=scopes, cidrs=asked.cidrs, expires_at=asked.expires_at), own
            )
        return issue(call, asked, selectors.customer(call.customer_id), _COLLECTION)


class AccountApiKey(AccountView):
    """One of one's own API keys."""

    @operation("Get an API key", action="keys.read", answer=ApiKeyShown)
    def get(self, call: Call, key_id: str) -> Answer:
        """Show it; never the key itself."""
        return shown(ApiKeyShown.of(selectors.api_key(call.customer_id, key_id)))

    @operation(
        "Change an API key",
        action="keys.write",
        asked=ApiKeyChanges,
        answer=ApiKeyShown,
        is_conditional=True,
        problems=[(409, "CONFLICT")],
    )
    def patch(self, call: Call, asked: ApiKeyChanges, key_id: str) -> Answer:
        """Change the members that are given."""
        row = selectors.api_key(call.customer_id, key_id, lock=True)
        call.check_precondition(ApiKeyShown.of(row))
        changed = update_api_key(api_key=row, changes=given(asked), actor=call.actor)
        own = own_rights(call)
        if own is not None and given(asked).keys() - {"name"}:
            # Judged as it would be afterwards; a refusal rolls the change back.
            require_within(Rights.of(changed), own)
        return shown(ApiKeyShown.of(selectors.api_key(call.customer_id, key_id)))


class AccountApiKeyRotation(AccountView):
    """Rotating a key."""

    @operation(
        "Rotate an API key",
        action="keys.write",
        asked=RotationAsked,
        asked_may_be_empty=True,
        answer=IssuedApiKeyShown,
        status=201,
        problems=[(409, "CONFLICT")],
    )
    def post(self, call: Call, asked: RotationAsked, key_id: str) -> Answer:
        """A successor with the same rights, shown as `key` this once; a key may rotate itself."""
        row = selectors.api_key(call.customer_id, key_id, lock=True)
        own = own_rights(call)
        if own is not None:
            require_within(Rights.of(row), own)
        issued = rotate_api_key(
            api_key=row, overlap_seconds=asked.overlap_seconds, actor=call.actor, now=call.now, name=asked.name
        )
        body = IssuedApiKeyShown.issued(selectors.api_key(call.customer_id, issued.api_key.id), issued.key)
        return created(body, f"{_COLLECTION}/{body.id}", holds_secret=True)


class AccountApiKeyRevocation(AccountView):
    """Revoking a key."""

    @operation(
        "Revoke an API key",
        action="keys.write",
        asked=RevocationAsked,
        asked_may_be_empty=True,
        answer=ApiKeyShown,
    )
    def post(self, call: Call, asked: RevocationAsked, key_id: str) -> Answer:
        """For good, and everywhere within a second. A key may revoke any of its customer's, itself included."""
        row = selectors.api_key(call.customer_id, key_id, lock=True)
        revoke_api_key(api_key=row, actor=call.actor, now=call.now, reason=asked.reason)
        return shown(ApiKeyShown.of(selectors.api_key(call.customer_id, key_id)))


def own_rights(call: Call) -> Rights | None:
    """The rights of the API key that calls; None for a person, whose role has decided already."""
    if call.actor.kind != "api_key":
        return None
    return Rights.of(ApiKey.objects.get(pk=call.actor.id))
