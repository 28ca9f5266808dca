"""`/api/builds`: a customer's own builds, for API keys with the scope `builds` and for its people."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest

from accounts import selectors as account_selectors
from accounts.api.views import AccountView
from build_farm import selectors
from build_farm.api.shapes import BuildAsked, BuildQuery, BuildShown
from build_farm.models import Build
from build_farm.services.entitled import require_entitled
from build_farm.services.request_build import cancel_build, request_build
from licensing.core.api.operations import Answer, Call, operation, shown
from licensing.core.api.pages import Page, page_of
from licensing.core.errors import InvalidValue, NotFound

_READ, _WRITE = "builds.read", "builds.write"
_COLLECTION = "/api/builds"


class Builds(AccountView):
    """One's own builds."""

    @operation("List your builds", action=_READ, answer=BuildShown, query=BuildQuery, is_list=True)
    def get(self, call: Call) -> Answer:
        """The newest first, without logs."""
        rows = selectors.builds_of(call.customer_id)
        return Answer(build_page(call.request, rows, call.query, BuildShown.of))

    @operation(
        "Ask for a build",
        action=_WRITE,
        asked=BuildAsked,
        answer=BuildShown,
        status=202,
        problems=[(404, "NOT_FOUND"), (409, "NOT_BUILDABLE")],
    )
    def post(self, call: Call, asked: BuildAsked) -> Answer:
        """It is made in the background; ask at `Location` how far it is. Asked again, it is the build that is there."""
        require_entitled(customer_id=call.customer_id, plugin=asked.plugin, version=asked.version, now=call.now)
        row = order_build(call, asked, call.customer_id)
        return accepted(BuildShown.of(row, position=selectors.position(row, now=call.now)), _COLLECTION, row)


class OneBuild(AccountView):
    """One of one's own builds."""

    @operation("Get a build", action=_READ, answer=BuildShown)
    def get(self, call: Call, build_id: str) -> Answer:
        """With its place in the queue and the end of its log."""
        row = selectors.build(build_id, customer_id=call.customer_id)
        return shown(BuildShown.of(row, position=selectors.position(row, now=call.now), with_log=True))


class BuildCancellation(AccountView):
    """Stopping a build."""

    @operation("Cancel a build", action=_WRITE, answer=BuildShown, problems=[(409, "BUILD_OVER")])
    def post(self, call: Call, build_id: str) -> Answer:
        """Whatever is made of it from now on is thrown away. Cancelling again changes nothing."""
        row = selectors.build(build_id, customer_id=call.customer_id)
        return shown(BuildShown.of(cancel_build(build=row, actor=call.actor, now=call.now), with_log=True))


def order_build(call: Call, asked: BuildAsked, customer_id: str) -> Build:
    """Ask for what a request names, for a customer."""
    key = None
    if asked.api_key_id:
        try:
            key = selectors.api_key(customer_id, asked.api_key_id)
        except NotFound as exc:
            raise InvalidValue("api_key_id: not a key of this customer.", field="api_key_id") from exc
    return request_build(
        release=selectors.published_release(asked.plugin, asked.version),
        customer=account_selectors.customer(customer_id),
        target=asked.target,
        actor=call.actor,
        api_key=key,
        again=asked.again,
    )


def accepted(body: BuildShown, collection: str, row: Build) -> Answer:
    """202 with the build and where to ask about it."""
    return Answer(body, 202, {"Location": f"{collection}/{row.id}"})


def build_page(request: HttpRequest, rows: Any, query: BuildQuery, show: Callable[[Build], BuildShown]) -> Page:
    """A page of builds, the newest first."""
    if query.state is not None:
        rows = rows.filter(state=query.state)
    if query.plugin:
        rows = rows.filter(release__plugin=query.plugin)
    return page_of(request, rows, query, order=("-created_at", "-id"), show=show)
