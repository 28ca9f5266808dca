"""One operation of an API: what it asks, what it answers, who may, and how it runs.

`operation` turns a method of an `ApiView` into a handler: who → may they → read → (for writes) one transaction with
its audit row and its remembered answer → answer. The declaration is also what `/api/schema` shows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import wraps
from http import HTTPStatus
from typing import Any, cast

import msgspec
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from licensing.core.actor import Actor
from licensing.core.api import idempotency
from licensing.core.api.etags import check_if_match, entity_tag, is_known_to_client
from licensing.core.api.pages import Page
from licensing.core.api.principal import Principal
from licensing.core.api.shapes import read_asked, read_query
from licensing.core.errors import Conflict, DomainError
from licensing.core.json_body import MAX_BODY_BYTES
from licensing.core.problems import error_response, json_response

SAFE_METHODS = frozenset({"GET", "HEAD"})


class NoQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No query parameters."""


@dataclass(frozen=True, slots=True)
class Operation:
    """The declaration of one operation; `answers` maps a status to a shape, or None for an empty body."""

    summary: str
    action: str
    answers: Mapping[int, type[msgspec.Struct] | None]
    asked: type[msgspec.Struct] | None = None
    asked_may_be_empty: bool = False
    query: type[msgspec.Struct] = NoQuery
    is_list: bool = False
    is_conditional: bool = False
    media_types: tuple[str, ...] = ("application/json",)
    max_bytes: int = MAX_BODY_BYTES
    problems: tuple[tuple[int, str], ...] = ()
    description: str = ""
    waits: bool = False
    """Waits for another process: runs outside of any transaction, and must be safe to run twice."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an operation: who, when, and with which query. Instants are aware, in UTC."""

    request: HttpRequest
    principal: Principal
    now: datetime
    query: Any = field(default=None)

    @property
    def actor(self) -> Actor:
        """Who acts, for the audit log."""
        return self.principal.actor

    @property
    def customer_id(self) -> str:
        """The one customer whose things the caller may see."""
        return self.principal.customer_id

    def check_precondition(self, shown: msgspec.Struct | None) -> None:
        """Hold If-Match against the present state; call it with the row locked."""
        check_if_match(self.request, shown)


@dataclass(frozen=True, slots=True)
class Answer:
    """What an operation answers. An answer with `holds_secret` is remembered only in sealed form."""

    body: msgspec.Struct | Page | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    holds_secret: bool = False
    with_tag: bool = False


def created(body: msgspec.Struct, location: str, *, holds_secret: bool = False) -> Answer:
    """201 with the thing and where it is."""
    return Answer(body, 201, {"Location": location}, holds_secret=holds_secret, with_tag=not holds_secret)


def shown(body: msgspec.Struct) -> Answer:
    """200 with one thing and its entity tag."""
    return Answer(body, with_tag=True)


def done() -> Answer:
    """204: done, nothing to show."""
    return Answer(status=204)


Handler = Callable[..., Answer | HttpResponseBase]


def operation(
    summary: str,
    *,
    action: str,
    answer: type[msgspec.Struct] | None = None,
    status: int = 200,
    answers: Mapping[int, type[msgspec.Struct] | None] | None = None,
    asked: type[msgspec.Struct] | None = None,
    problems: Sequence[tuple[int, str]] = (),
    **options: Any,
) -> Callable[[Handler], Callable[..., HttpResponseBase]]:
    """Declare a method of an `ApiView` as an operation.

    The method gets a `Call`, then what was `asked` (if a shape is given), then the path's parameters by name.
    """
    declared = Operation(
        summary=summary,
        action=action,
        answers=answers or {status: answer},
        asked=asked,
        problems=tuple(problems),
        **options,
    )

    def decorate(handler: Handler) -> Callable[..., HttpResponseBase]:
        @wraps(handler)
        def run(view: Any, request: Request, **path: str) -> HttpResponseBase:
            return _run(declared, handler, view, request, path)

        run.operation = declared  # type: ignore[attr-defined]
        return run

    return decorate


def _run(declared: Operation, handler: Handler, view: Any, request: Request, path: dict[str, str]) -> HttpResponseBase:
    principal = cast(Principal, request.user)
    http = request._request
    principal.require(declared.action)
    query = read_query(http.GET, declared.query)
    call = Call(http, principal, datetime.now(UTC), query)
    if declared.asked is None:
        arguments: tuple[Any, ...] = ()
        sent: dict[str, Any] = {}
    else:
        asked, sent = read_asked(
            http, declared.asked, max_bytes=declared.max_bytes, allow_empty=declared.asked_may_be_empty
        )
        arguments = (asked,)

    def work() -> tuple[HttpResponse, bool]:
        answer = handler(view, call, *arguments, **path)
        if not isinstance(answer, Answer):
            raise TypeError("a write answers with an Answer, which can be remembered")
        return _response(http, answer), answer.holds_secret

    if http.method in SAFE_METHODS:
        found = handler(view, call, *arguments, **path)
        return _response(http, found) if isinstance(found, Answer) else found
    claim = idempotency.claim_for(http, sent, principal=principal, now=call.now)
    if declared.waits:
        return _wait(claim, work)
    try:
        with transaction.atomic():
            return _write(http, claim, work)
    except IntegrityError as exc:
        # Someone else's change got in between; the constraints, some of them checked at the commit, kept order.
        raise Conflict(note=f"integrity: {type(exc.__cause__).__name__}") from exc


def _write(
    request: HttpRequest, claim: idempotency.Claim | None, work: Callable[[], tuple[HttpResponse, bool]]
) -> HttpResponse:
    if claim is None:
        return work()[0]
    before = idempotency.first_answer(claim)
    if before is not None:
        return before
    try:
        with transaction.atomic():
            response, holds_secret = work()
    except DomainError as exc:
        if exc.status >= 500 or exc.status == HTTPStatus.TOO_MANY_REQUESTS:
            raise  # asked again it may go well
        # What was refused did nothing, and the refusal is remembered like any other answer.
        response, holds_secret = error_response(request, exc), False
    idempotency.remember(claim, response, holds_secret=holds_secret)
    return response


def _wait(claim: idempotency.Claim | None, work: Callable[[], tuple[HttpResponse, bool]]) -> HttpResponse:
    """Run what waits for others: no transaction may stand open for as long as that takes."""
    if claim is not None:
        with transaction.atomic():
            before = idempotency.first_answer(claim)
        if before is not None:
            return before
    response, holds_secret = work()
    if claim is not None:
        with transaction.atomic():
            before = idempotency.first_answer(claim)
            if before is not None:
                return before
            idempotency.remember(claim, response, holds_secret=holds_secret)
    return response


def _response(request: HttpRequest, answer: Answer) -> HttpResponse:
    if answer.body is None:
        response = HttpResponse(status=answer.status)
        response.headers["Cache-Control"] = "no-store"
        del response.headers["Content-Type"]
    elif isinstance(answer.body, Page):
        response = json_response({"results": list(answer.body.results), "next": answer.body.next})
    else:
        response = _one(request, answer, answer.body)
    for name, value in answer.headers.items():
        response.headers[name] = value
    return response


def _one(request: HttpRequest, answer: Answer, body: msgspec.Struct) -> HttpResponse:
    if not answer.with_tag:
        return json_response(msgspec.structs.asdict(body), status=answer.status)
    tag = entity_tag(body)
    if request.method in SAFE_METHODS and is_known_to_client(request, tag):
        response = HttpResponse(status=304)
        response.headers["Cache-Control"] = "no-store"
    else:
        response = json_response(msgspec.structs.asdict(body), status=answer.status)
    response.headers["ETag"] = tag
    return response
