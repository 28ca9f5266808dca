"""The plugin API: what installed plugins call (DESIGN §5). Plain views, since 99.9 % of the traffic is here."""

import time

from django.http import HttpRequest, HttpResponse

from licensing.core.endpoint import bearer_credential, endpoint
from licensing.core.errors import AuthenticationRequired, BadRequest
from licensing.core.json_body import read_object, read_shape
from licensing.core.overload import refuse_if_overloaded
from licensing.core.problems import json_response, problem_response
from licensing.core.request_id import request_id
from licensing.core.source import client_address
from licensing.rules import codes
from licensing.services.asked import AuthenticateAsked, RefreshAsked, ValidateAsked
from licensing.services.authenticate import Caller
from licensing.services.authenticate import authenticate as authenticate_key
from licensing.services.deactivate import deactivate as deactivate_installation
from licensing.services.outcome import Denied, Outcome, told_members
from licensing.services.proofs import SentRequest
from licensing.services.refresh import refresh as refresh_token
from licensing.services.state import decide
from licensing.services.usage import UsageAsked, report_usage
from licensing.services.validate import validate as validate_token


@endpoint("POST")
def authenticate(request: HttpRequest) -> HttpResponse:
    """`POST /api/plugins/authenticate`."""
    refuse_if_overloaded()
    try:
        credential = bearer_credential(request, header="X-API-Key")
    except AuthenticationRequired as exc:
        return _verdict_response(request, Denied(codes.deny(codes.API_KEY_INVALID), exc.headers))
    asked = read_shape(read_object(request), AuthenticateAsked)
    asked.check()
    caller, sent, now = caller_of(request, credential), sent_request(request), time.time()
    outcome = decide(lambda state: authenticate_key(asked=asked, caller=caller, sent=sent, state=state, now=now))
    return outcome_response(request, outcome)


@endpoint("POST")
def validate(request: HttpRequest) -> HttpResponse:
    """`POST /api/plugins/validate`."""
    credential = _token(request)
    asked = read_shape(read_object(request), ValidateAsked)
    if asked.plugin_token != credential:
        raise BadRequest("plugin_token: not the token of the Authorization header.", field="plugin_token")
    caller, sent, now = caller_of(request, credential), sent_request(request), time.time()
    outcome = decide(lambda state: validate_token(asked=asked, caller=caller, sent=sent, state=state, now=now))
    return outcome_response(request, outcome)


@endpoint("POST")
def refresh(request: HttpRequest) -> HttpResponse:
    """`POST /api/plugins/refresh`."""
    credential = _token(request)
    asked = read_shape(read_object(request, allow_empty=True), RefreshAsked)
    caller, sent, now = caller_of(request, credential), sent_request(request), time.time()
    outcome = decide(lambda state: refresh_token(asked=asked, caller=caller, sent=sent, state=state, now=now))
    return outcome_response(request, outcome)


@endpoint("POST")
def deactivate(request: HttpRequest) -> HttpResponse:
    """`POST /api/plugins/deactivate`."""
    credential = _token(request)
    read_object(request, allow_empty=True)
    caller, sent, now = caller_of(request, credential), sent_request(request), time.time()
    outcome = decide(lambda state: deactivate_installation(caller=caller, sent=sent, state=state, now=now))
    return outcome_response(request, outcome)


@endpoint("POST")
def usage(request: HttpRequest) -> HttpResponse:
    """`POST /api/plugins/usage`."""
    credential = _token(request)
    asked = read_shape(read_object(request), UsageAsked)
    caller, sent, now = caller_of(request, credential), sent_request(request), time.time()
    outcome = decide(lambda state: report_usage(asked=asked, caller=caller, sent=sent, state=state, now=now))
    return outcome_response(request, outcome)


def _token(request: HttpRequest) -> str:
    try:
        return bearer_credential(request)
    except AuthenticationRequired as exc:
        raise AuthenticationRequired("Send the plugin token as Authorization: Bearer.", headers=exc.headers) from exc


def caller_of(request: HttpRequest, credential: str) -> Caller:
    """Who sent a request."""
    return Caller(credential, client_address(request), request_id())


def sent_request(request: HttpRequest) -> SentRequest:
    """The request as it arrived, for what its proof covers."""
    header = request.META.get
    return SentRequest(
        method=request.method or "",
        target=_target(request),
        body=request.body,  # the view has read it, and looked at its length
        proof=header("HTTP_X_KEYWRIGHT_PROOF"),
        timestamp=header("HTTP_X_KEYWRIGHT_TIMESTAMP"),
        nonce=header("HTTP_X_KEYWRIGHT_NONCE"),
    )


def _target(request: HttpRequest) -> str:
    """The request target as sent: none of our paths has a character that would have been decoded."""
    query = request.META.get("QUERY_STRING", "")
    return f"{request.path}?{query}" if query else request.path


def outcome_response(request: HttpRequest, outcome: Outcome) -> HttpResponse:
    """Answer what a decision came to."""
    if isinstance(outcome, Denied):
        return _verdict_response(request, outcome)
    return json_response(outcome.body, headers=outcome.headers)


def _verdict_response(request: HttpRequest, denied: Denied) -> HttpResponse:
    verdict = denied.verdict
    headers = dict(denied.headers)
    if denied.status == 401:
        # A request without any credential has its own challenge, which names no error (RFC 6750, 3.1).
        headers.setdefault("WWW-Authenticate", 'Bearer error="invalid_token"')
    extra = {**told_members(verdict), **denied.extra}
    return problem_response(
        request, status=denied.status, code=verdict.code, detail=verdict.detail, headers=headers, extra=extra
    )
