"""Customers' API keys on the account and registry APIs: judged by the same rules as on the plugin API."""

import time

from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from accounts.api.authentication import BearerSeal
from accounts.permissions import actions_of_scopes
from licensing.core.api.principal import Principal
from licensing.core.endpoint import bearer_credential
from licensing.core.errors import CredentialMissing, DomainError, PermissionMissing
from licensing.core.request_id import request_id
from licensing.core.source import client_address
from licensing.rules import codes
from licensing.rules.codes import Verdict, deny
from licensing.rules.pipeline import (
    CREDENTIAL_RULES,
    Facts,
    customer_not_suspended,
    first_answer,
    scope_present,
)
from licensing.services import limits
from licensing.services.authenticate import Caller, find_key, key_actor
from licensing.services.outcome import Denied, told_members
from licensing.services.state import State, decide

_RULES = (*(rule for rule in CREDENTIAL_RULES if rule is not scope_present), customer_not_suspended)


class VerdictRefused(DomainError):
    """A verdict that is no, as an error: its code and sentence are the verdict's."""

    def __init__(self, verdict: Verdict) -> None:
        status = Denied(verdict).status
        headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'} if status == 401 else {}
        super().__init__(verdict.detail, headers=headers, extra=told_members(verdict))
        self.code = verdict.code  # type: ignore[misc]
        self.status = status  # type: ignore[misc]
        self.title = "Unauthorized" if status == 401 else "Forbidden"  # type: ignore[misc]


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer km_…` or `X-API-Key`: acts for the key's customer, within the key's scopes."""

    def authenticate(self, request: Request) -> tuple[Principal, None] | None:
        """Return who it is; None where no credential came along.

        Raises:
            VerdictRefused: with the code of the rule that refuses the key.
        """
        http = request._request
        try:
            credential = bearer_credential(http, header="X-API-Key")
        except CredentialMissing:
            return None
        caller = Caller(credential, client_address(http), request_id())
        return decide(lambda state: key_principal(caller, state=state, now=time.time())), None

    def authenticate_header(self, request: Request) -> str:
        """The challenge of a 401."""
        return "Bearer"


def key_principal(caller: Caller, *, state: State, now: float) -> Principal:
    """Judge an API key for other uses than the plugin API's: all its rules but the scope, which each action names.

    Raises:
        VerdictRefused: it is no good, or its customer is suspended.
    """
    found = find_key(caller, "", state)
    if found is None:
        limits.note_bad_credential(caller.address)
        raise VerdictRefused(deny(codes.API_KEY_INVALID))
    customer, key = found
    facts = Facts(
        now=now,
        catalogue=state.catalogue(),
        customer=customer,
        key=key,
        plugin_name="",
        plugin_version="",
        source_address=caller.address,
    )
    verdict = first_answer(_RULES, facts)
    if not verdict.valid:
        raise VerdictRefused(verdict)
    return Principal(
        actor=key_actor(key, caller),
        scope=f"api_key:{key.id}",
        permissions=actions_of_scopes(key.scopes),
        answer_seal=BearerSeal(caller.credential),
        customer_id=customer.id,
        refuse=_refusal,
    )


def _refusal(action: str) -> DomainError:
    """What a key is told that may not do `action`: the scope it would need, if one would help."""
    for scope in ("builds", "account:read", "account:write"):
        if action in actions_of_scopes(frozenset({scope})):
            return VerdictRefused(deny(codes.SCOPE_MISSING, f"The API key lacks the scope {scope}."))
    return PermissionMissing("Only people may do this, in the portal; no API key can.")
