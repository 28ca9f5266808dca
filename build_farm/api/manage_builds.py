"""`/api/manage/builds/` and the source upload of `/api/manage/plugins/{plugin}/releases/`: the vendor's side."""

from typing import Any

from django.http.response import HttpResponseBase
from rest_framework.request import Request

from accounts import selectors as account_selectors
from accounts.api.views import ManageView
from build_farm import selectors
from build_farm.api.builds import accepted, build_page, order_build
from build_farm.api.shapes import (
    ManagedBuildAsked,
    ManagedBuildQuery,
    ManagedBuildShown,
    ProgressShown,
    RebuildAsked,
    UploadedShown,
    UploadQuery,
)
from build_farm.api.upload import ARCHIVE_TYPES, is_archive, received_source
from build_farm.services.publish_source import PublishOptions, publish_source
from build_farm.services.request_build import cancel_build, rebuild_for_customer, rebuild_for_release
from licensing.core.api.operations import Answer, Call, operation, shown
from licensing.core.errors import BadRequest
from registry.api.manage_releases import ManagedReleases, plugin_row
from registry.api.manage_shapes import ManagedReleaseShown
from registry.storage import artifact_store

_READ, _WRITE = "manage.builds.read", "manage.builds.write"
_COLLECTION = "/api/manage/builds"


class ManagedBuilds(ManageView):
    """Everybody's builds."""

    @operation("List builds", action=_READ, answer=ManagedBuildShown, query=ManagedBuildQuery, is_list=True)
    def get(self, call: Call) -> Answer:
        """The newest first, without logs."""
        query: ManagedBuildQuery = call.query
        rows = selectors.all_builds()
        if query.customer_id:
            rows = rows.filter(customer=query.customer_id)
        if query.batch:
            rows = rows.filter(batch=query.batch)
        return Answer(build_page(call.request, rows, query, ManagedBuildShown.of))

    @operation(
        "Ask for a customer's build",
        action=_WRITE,
        asked=ManagedBuildAsked,
        answer=ManagedBuildShown,
        status=202,
        problems=[(404, "NOT_FOUND"), (409, "NOT_BUILDABLE")],
    )
    def post(self, call: Call, asked: ManagedBuildAsked) -> Answer:
        """Whatever the customer's subscription says: the binary is of no use without one."""
        row = order_build(call, asked, asked.customer_id)
        body = ManagedBuildShown.of(row, position=selectors.position(row, now=call.now))
        return accepted(body, _COLLECTION, row)


class ManagedBuild(ManageView):
    """One build."""

    @operation("Get a build", action=_READ, answer=ManagedBuildShown)
    def get(self, call: Call, build_id: str) -> Answer:
        """With its place in the queue and the end of its log."""
        row = selectors.build(build_id)
        return shown(ManagedBuildShown.of(row, position=selectors.position(row, now=call.now), with_log=True))


class ManagedBuildCancellation(ManageView):
    """Stopping a build."""

    @operation("Cancel a build", action=_WRITE, answer=ManagedBuildShown, problems=[(409, "BUILD_OVER")])
    def post(self, call: Call, build_id: str) -> Answer:
        """Whatever is made of it from now on is thrown away. Cancelling again changes nothing."""
        row = cancel_build(build=selectors.build(build_id), actor=call.actor, now=call.now)
        return shown(ManagedBuildShown.of(row, with_log=True))


class MassRebuilds(ManageView):
    """Making many builds anew."""

    @operation(
        "Rebuild everything of a customer, or a release for everybody",
        action=_WRITE,
        asked=RebuildAsked,
        answer=ProgressShown,
        status=202,
        problems=[(404, "NOT_FOUND"), (409, "NOT_BUILDABLE")],
    )
    def post(self, call: Call, asked: RebuildAsked) -> Answer:
        """After every interactive build, customers taking turns. What is published stays until the new one is."""
        if bool(asked.customer_id) == bool(asked.plugin) or bool(asked.plugin) != bool(asked.version):
            raise BadRequest("Give customer_id, or plugin and version.", field="customer_id")
        if asked.customer_id:
            made = rebuild_for_customer(customer=account_selectors.customer(asked.customer_id), actor=call.actor)
        else:
            release = selectors.published_release(asked.plugin, asked.version)
            made = rebuild_for_release(release=release, actor=call.actor)
        if made.queued == 0:
            return Answer(ProgressShown(batch="", total=0, by_state={}, seconds_left=None, joined=made.joined), 202)
        found = selectors.progress(made.batch, now=call.now)
        where = {"Location": f"{_COLLECTION}/batches/{made.batch}"}
        return Answer(ProgressShown.of(found, joined=made.joined), 202, where)


class MassRebuildProgress(ManageView):
    """How far a mass rebuild is."""

    @operation("Get a mass rebuild's progress", action=_READ, answer=ProgressShown)
    def get(self, call: Call, batch: str) -> Answer:
        """Builds by state, and about how long the rest will take."""
        return Answer(ProgressShown.of(selectors.progress(batch, now=call.now)))


class SourceReleases(ManagedReleases):
    """The releases of a plugin: drafts to be filled with files (JSON), or a whole one from its source (an archive)."""

    def post(self, request: Request, **path: Any) -> HttpResponseBase:
        """Told apart by the content type: nothing else of the two is alike."""
        if is_archive(request._request):
            return self.upload(request, **path)
        drafted: HttpResponseBase = ManagedReleases.post(self, request, **path)
        return drafted

    post.operation = ManagedReleases.post.operation  # type: ignore[attr-defined]

    @operation(
        "Publish a release from its source",
        action="manage.releases.write",
        answer=UploadedShown,
        status=201,
        query=UploadQuery,
        media_types=ARCHIVE_TYPES,
        waits=True,  # for the body, which goes into the store before any transaction begins
        problems=[(409, "VERSION_EXISTS"), (413, "BODY_TOO_LARGE"), (422, "SOURCE_REFUSED")],
    )
    def upload(self, call: Call, plugin: str) -> Answer:
        """The body is a tar.gz, tar or zip with `keywright.toml` in it. The same archive again changes nothing."""
        query: UploadQuery = call.query
        published = publish_source(
            plugin=plugin_row(plugin),
            chunks=received_source(call.request),
            options=PublishOptions(
                channels=tuple(query.channels.split(",")),
                notes=query.notes,
                require_installation=query.require_installation,
                refuse_undeclared=query.refuse_undeclared,
                is_draft=query.draft,
            ),
            actor=call.actor,
            now=call.now,
            store=artifact_store(),
        )
        published.release.refresh_from_db()
        body = UploadedShown.of(ManagedReleaseShown.of(published.release), published.source)
        location = f"/api/manage/plugins/{plugin}/releases/{published.release.version}"
        return Answer(body, 201, {"Location": location})
