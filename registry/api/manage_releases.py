"""`/api/manage/plugins/{plugin}/releases/` and `/channels/`: the vendor's side of the registry."""

import base64
import binascii
import re
from collections.abc import Iterator
from typing import ClassVar

from django.conf import settings
from django.http import HttpRequest
from django.http.request import UnreadablePostError

from accounts.api.views import ManageView
from licensing.core.api.operations import Answer, Call, created, done, operation, shown
from licensing.core.api.pages import page_of
from licensing.core.errors import BadRequest, BodyTooLarge, InvalidValue, LengthRequired, NotFound, UnsupportedMediaType
from licensing.models import PLUGIN_NAME_PATTERN, Plugin
from registry import selectors
from registry.api.manage_shapes import (
    ChannelAsked,
    ChannelShown,
    ManagedArtifactShown,
    ManagedReleaseQuery,
    ManagedReleaseShown,
    PublishAsked,
    ReleaseAsked,
    ReleaseChanges,
    YankAsked,
)
from registry.models import CHANNEL_PATTERN, Artifact, Channel, Release
from registry.services.artifacts import add_artifact
from registry.services.releases import (
    create_release,
    delete_draft,
    move_channel,
    publish_release,
    set_notes,
    unyank_release,
    yank_release,
)
from registry.storage import Stored, artifact_store
from registry.storage.interface import CHUNK_BYTES

VERSION_PATTERN = r"[0-9A-Za-z][0-9A-Za-z.+-]{0,63}"
_REPR_DIGEST = re.compile(r"\s*sha-256=:([A-Za-z0-9+/=]{44}):\s*")
_READ = "manage.releases.read"
_WRITE = "manage.releases.write"


class ReleaseView(ManageView):
    """Base of the vendor's side of the registry."""

    path_patterns: ClassVar = {
        "plugin": PLUGIN_NAME_PATTERN,
        "version": VERSION_PATTERN,
        "channel": CHANNEL_PATTERN,
        "target": r"any|[a-z0-9]{1,15}-[a-z0-9_]{1,15}",
    }


class ManagedReleases(ReleaseView):
    """The releases of a plugin."""

    @operation("List releases", action=_READ, answer=ManagedReleaseShown, query=ManagedReleaseQuery, is_list=True)
    def get(self, call: Call, plugin: str) -> Answer:
        """The newest first, drafts included."""
        query: ManagedReleaseQuery = call.query
        rows = Release.objects.filter(plugin=plugin_row(plugin))
        if query.state is not None:
            rows = rows.filter(state=query.state)
        order = ("-created_at", "-id")
        return Answer(page_of(call.request, rows, query, order=order, show=ManagedReleaseShown.of))

    @operation(
        "Create a draft of a release",
        action=_WRITE,
        asked=ReleaseAsked,
        answer=ManagedReleaseShown,
        status=201,
        problems=[(409, "VERSION_EXISTS")],
    )
    def post(self, call: Call, asked: ReleaseAsked, plugin: str) -> Answer:
        """Fill it with prebuilt files, then publish it. Made again, it is the draft that is there."""
        row = create_release(
            plugin=plugin_row(plugin),
            version=asked.version,
            channels=asked.channels,
            notes=asked.notes,
            actor=call.actor,
            now=call.now,
            store=artifact_store(),
        )
        row.refresh_from_db()
        return created(ManagedReleaseShown.of(row), f"/api/manage/plugins/{plugin}/releases/{row.version}")


class ManagedRelease(ReleaseView):
    """One release."""

    @operation("Get a release", action=_READ, answer=ManagedReleaseShown)
    def get(self, call: Call, plugin: str, version: str) -> Answer:
        """With its public files."""
        return shown(ManagedReleaseShown.of(selectors.release(plugin, version)))

    @operation(
        "Change a release's notes",
        action=_WRITE,
        asked=ReleaseChanges,
        answer=ManagedReleaseShown,
        is_conditional=True,
    )
    def patch(self, call: Call, asked: ReleaseChanges, plugin: str, version: str) -> Answer:
        """Nothing else of a release can be changed."""
        row = selectors.release(plugin, version, lock=True)
        call.check_precondition(ManagedReleaseShown.of(row))
        return shown(ManagedReleaseShown.of(set_notes(release=row, notes=asked.notes, actor=call.actor)))

    @operation("Delete a draft", action=_WRITE, status=204, is_conditional=True, problems=[(409, "CONFLICT")])
    def delete(self, call: Call, plugin: str, version: str) -> Answer:
        """A published release stays."""
        row = selectors.release(plugin, version, lock=True)
        call.check_precondition(ManagedReleaseShown.of(row))
        delete_draft(release=row, actor=call.actor)
        return done()


class ReleasePublication(ReleaseView):
    """Publishing."""

    @operation(
        "Publish a release",
        action=_WRITE,
        asked=PublishAsked,
        asked_may_be_empty=True,
        answer=ManagedReleaseShown,
        problems=[(409, "RELEASE_NOT_READY")],
    )
    def post(self, call: Call, asked: PublishAsked, plugin: str, version: str) -> Answer:
        """All of it at once, or nothing. Publishing again changes nothing."""
        row = publish_release(
            release=selectors.release(plugin, version),
            actor=call.actor,
            now=call.now,
            require_installation=asked.require_installation,
            expected=asked.targets,
        )
        return shown(ManagedReleaseShown.of(row))


class ReleaseYank(ReleaseView):
    """Withdrawing."""

    @operation(
        "Yank a release",
        action=_WRITE,
        asked=YankAsked,
        asked_may_be_empty=True,
        answer=ManagedReleaseShown,
        problems=[(409, "CONFLICT")],
    )
    def post(self, call: Call, asked: YankAsked, plugin: str, version: str) -> Answer:
        """It is offered no more; who names its version still gets it. To stop that too, quarantine the version."""
        row = selectors.release(plugin, version)
        return shown(
            ManagedReleaseShown.of(yank_release(release=row, reason=asked.reason, actor=call.actor, now=call.now))
        )


class ReleaseUnyank(ReleaseView):
    """Offering again."""

    @operation("Take a yank back", action=_WRITE, answer=ManagedReleaseShown)
    def post(self, call: Call, plugin: str, version: str) -> Answer:
        """It is offered again."""
        row = selectors.release(plugin, version)
        return shown(ManagedReleaseShown.of(unyank_release(release=row, actor=call.actor)))


class ReleaseFile(ReleaseView):
    """Uploading a prebuilt file."""

    @operation(
        "Upload a prebuilt file",
        action=_WRITE,
        answer=ManagedArtifactShown,
        status=201,
        waits=True,  # for the body, which goes into the store before any transaction begins
        problems=[
            (409, "VERSION_EXISTS"),
            (409, "CONFLICT"),
            (411, "LENGTH_REQUIRED"),
            (413, "BODY_TOO_LARGE"),
            (415, "UNSUPPORTED_MEDIA_TYPE"),
        ],
    )
    def put(self, call: Call, plugin: str, version: str, target: str) -> Answer:
        """The body is the file (`application/octet-stream`); the target is written `linux-amd64`, or `any`.

        A `Repr-Digest: sha-256=:…:` that comes along must be the file's. It is signed soon after.
        """
        release = selectors.release(plugin, version)
        stored = _received(call.request)
        suffix = "" if target == "any" else f"-{target}"
        row = add_artifact(
            release=release,
            target=target.replace("-", "/", 1),
            stored=stored,
            filename=f"{plugin}-{release.version}{suffix}.kmpkg",
            kind=Artifact.Kind.PREBUILT,
            actor=call.actor,
            now=call.now,
            store=artifact_store(),
        )
        row.refresh_from_db()
        return Answer(ManagedArtifactShown.of(row), 201)


class Channels(ReleaseView):
    """What each channel of a plugin offers."""

    @operation("List channels", action=_READ, answer=ChannelShown, query=ManagedReleaseQuery, is_list=True)
    def get(self, call: Call, plugin: str) -> Answer:
        """By name."""
        rows = Channel.objects.filter(plugin=plugin_row(plugin)).select_related("head", "previous")
        return Answer(page_of(call.request, rows, call.query, order=("name", "id"), show=ChannelShown.of))


class OneChannel(ReleaseView):
    """One channel."""

    @operation("Get a channel", action=_READ, answer=ChannelShown)
    def get(self, call: Call, plugin: str, channel: str) -> Answer:
        """What it offers."""
        return shown(ChannelShown.of(_channel(plugin, channel)))

    @operation(
        "Roll a channel back, or forward",
        action=_WRITE,
        asked=ChannelAsked,
        answer=ChannelShown,
        is_conditional=True,
        problems=[(409, "CONFLICT")],
    )
    def put(self, call: Call, asked: ChannelAsked, plugin: str, channel: str) -> Answer:
        """From this moment on it offers this version, and nothing newer until something newer is published."""
        call.check_precondition(ChannelShown.of(_channel(plugin, channel)))
        row = move_channel(
            plugin=plugin_row(plugin),
            name=channel,
            release=selectors.release(plugin, asked.version),
            actor=call.actor,
            now=call.now,
        )
        return shown(ChannelShown.of(row))


def plugin_row(name: str) -> Plugin:
    """A plugin, for operators. Raises `NotFound`."""
    row = Plugin.objects.filter(pk=name).first()
    if row is None:
        raise NotFound()
    return row


def _channel(plugin: str, name: str) -> Channel:
    row = Channel.objects.filter(plugin=plugin, name=name).select_related("head", "previous").first()
    if row is None:
        raise NotFound()
    return row


def _received(request: HttpRequest) -> Stored:
    """Put the body into the store, if it is all there and what it was said to be."""
    if request.META.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() != "application/octet-stream":
        raise UnsupportedMediaType("Send the file as application/octet-stream.", field="Content-Type")
    length = request.META.get("CONTENT_LENGTH") or ""
    if request.META.get("HTTP_TRANSFER_ENCODING") or not (length.isascii() and length.isdigit()):
        raise LengthRequired("Send a Content-Length.")
    if len(length) > 15 or int(length) > settings.ARTIFACT_MAX_BYTES:
        raise BodyTooLarge(f"A file may have at most {settings.ARTIFACT_MAX_BYTES} bytes.")
    announced = _announced_digest(request)
    stored = artifact_store().put_stream(_chunks(request, int(length)), max_bytes=settings.ARTIFACT_MAX_BYTES)
    if announced not in (None, stored.sha256):
        raise InvalidValue("Repr-Digest: the file that arrived has another digest.", field="Repr-Digest")
    return stored


def _chunks(request: HttpRequest, length: int) -> Iterator[bytes]:
    """Yield the body; a caller that vanishes half-way is an error, so that nothing is put in place."""
    received = 0
    try:
        while received < length and (chunk := request.read(CHUNK_BYTES)):
            received += len(chunk)
            yield chunk
    except UnreadablePostError as exc:
        raise BadRequest("The body could not be read to its end.") from exc
    if received != length:
        raise BadRequest("The body is shorter than its Content-Length says.", field="Content-Length")


def _announced_digest(request: HttpRequest) -> str | None:
    header = request.META.get("HTTP_REPR_DIGEST")
    if header is None:
        return None
    matched = _REPR_DIGEST.fullmatch(header)
    try:
        return base64.b64decode(matched[1] if matched else "", validate=True).hex() or "none"
    except binascii.Error:
        return "none"
