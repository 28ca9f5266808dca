"""Finding out who asks the registry, for its JSON endpoints."""

import base64
import binascii
import time
from dataclasses import dataclass

from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from accounts.api.authentication import BearerSeal
from licensing.core.api.principal import Principal
from licensing.core.endpoint import bearer_credential
from licensing.core.errors import AuthenticationRequired
from licensing.core.json_body import read_body
from licensing.core.request_id import request_id
from licensing.core.source import client_address
from licensing.services.authenticate import Caller
from licensing.services.proofs import SentRequest
from licensing.services.state import decide
from registry.errors import HeaderMismatch
from registry.services.visitors import Visitor, identify


@dataclass(frozen=True, slots=True)
class RegistryPrincipal(Principal):
    """A visitor, as operations know callers."""

    visitor: Visitor | None = None


class RegistryAuthentication(BaseAuthentication):
    """`Authorization: Bearer` with an API key, a plugin token or a registry token; `X-API-Key` too."""

    def __init__(self, scope: str) -> None:
        self._scope = scope

    def authenticate(self, request: Request) -> tuple[Principal, None]:
        """Return who it is. Raises what `visitor_of` raises."""
        http = request._request
        credential = bearer_credential(http, header="X-API-Key")
        visitor = visitor_of(http, credential, scope=self._scope)
        principal = RegistryPrincipal(
            actor=visitor.actor,
            scope=f"{visitor.credential.kind}:{visitor.credential.id}",
            permissions=frozenset({self._scope}),
            answer_seal=BearerSeal(credential),
            customer_id=visitor.customer.id,
            visitor=visitor,
        )
        return principal, None

    def authenticate_header(self, request: Request) -> str:
        """The challenge of a 401."""
        return "Bearer"


def visitor_of(request: HttpRequest, credential: str, *, scope: str) -> Visitor:
    """Judge a credential for the registry.

    Raises:
        VerdictRefused, FeatureMissing, TooManyRequests: see `identify`.
        HeaderMismatch: `X-Customer-ID` names another customer.
    """
    caller = Caller(credential, client_address(request), request_id())
    sent = sent_request(request)
    visitor = decide(lambda state: identify(caller=caller, sent=sent, scope=scope, state=state, now=time.time()))
    if request.META.get("HTTP_X_CUSTOMER_ID", visitor.customer.id) != visitor.customer.id:
        raise HeaderMismatch("X-Customer-ID names another customer than the credential's.")
    return visitor


def sent_request(request: HttpRequest) -> SentRequest:
    """The request as a proof is bound to it."""
    header = request.META.get
    query = header("QUERY_STRING", "")
    return SentRequest(
        method=request.method or "",
        target=f"{request.path}?{query}" if query else request.path,
        body=read_body(request),
        proof=header("HTTP_X_KEYWRIGHT_PROOF"),
        timestamp=header("HTTP_X_KEYWRIGHT_TIMESTAMP"),
        nonce=header("HTTP_X_KEYWRIGHT_NONCE"),
    )


def basic_or_bearer(request: HttpRequest) -> str:
    """The credential of `Authorization: Bearer`, or the password of `Basic`: what a browser can ask a person for.

    Raises:
        AuthenticationRequired: there is none.
    """
    scheme, _, value = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() != "basic":
        return bearer_credential(request, header="X-API-Key")
    try:
        _, separator, password = base64.b64decode(value.strip(), validate=True).decode("ascii").partition(":")
    except (binascii.Error, ValueError):
        separator = password = ""
    if not separator or not password:
        raise AuthenticationRequired(headers={"WWW-Authenticate": "Bearer"})
    return password
