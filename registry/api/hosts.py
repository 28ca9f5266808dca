"""`/api/registry/…`: what plugin hosts ask. What may I install, what is newer, give me the bytes."""

import base64
from typing import Any, ClassVar

from django.db import transaction
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from licensing.core.api.operations import Answer, Call, operation
from licensing.core.api.views import ApiView
from licensing.core.errors import NotFound
from licensing.models import PLUGIN_NAME_PATTERN, Plugin
from licensing.rules.versions import parse_version
from registry import selectors
from registry.api.authentication import RegistryAuthentication, RegistryPrincipal
from registry.api.shapes import (
    BuildWaitShown,
    DownloadAsked,
    DownloadShown,
    InstalledAsked,
    ListedPlugin,
    ListedRelease,
    PolicyShown,
    RegistryPluginShown,
    RegistryPluginsQuery,
    RegistryPluginsShown,
    RegistryReleaseShown,
    UpdatesAsked,
    UpdateShown,
    UpdatesShown,
    pem,
    published,
)
from registry.errors import HeaderMismatch
from registry.models import CustomerPolicy, RequestedBuild
from registry.services.downloads import Handed, Refused, ask_download
from registry.services.policies import effective_policy
from registry.services.visitors import DOWNLOAD, READ, Visitor

VERSION_PATTERN = r"[0-9A-Za-z][0-9A-Za-z.+-]{0,63}"
RETRY_AFTER_SECONDS = "3"


class RegistryView(ApiView):
    """Base of what hosts ask; `scope` is what an API key must have."""

    scope: ClassVar[str] = READ
    security: ClassVar = ("apiKey", "pluginToken", "registryToken")
    path_patterns: ClassVar = {"plugin": PLUGIN_NAME_PATTERN, "version": VERSION_PATTERN}

    def get_authenticators(self) -> list[BaseAuthentication]:
        """The one way in."""
        return [RegistryAuthentication(self.scope)]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Hold `X-Plugin-Name` against the path, if both name one."""
        super().initial(request, *args, **kwargs)
        named = request._request.META.get("HTTP_X_PLUGIN_NAME")
        if named is not None and kwargs.get("plugin", named) != named:
            raise HeaderMismatch("X-Plugin-Name names another plugin than the path.")


class RegistryPlugins(RegistryView):
    """What may be installed."""

    @operation("List plugins", action=READ, answer=RegistryPluginsShown, query=RegistryPluginsQuery)
    def get(self, call: Call) -> Answer:
        """Plugins that the caller's subscription includes and that a channel offers for a platform."""
        visitor, query = visitor_of(call), call.query
        return Answer(plugins_shown(visitor, platform=query.platform, channel=query.channel))


class RegistryPlugin(RegistryView):
    """One plugin."""

    @operation("Get a plugin", action=READ, answer=RegistryPluginShown, query=RegistryPluginsQuery)
    def get(self, call: Call, plugin: str) -> Answer:
        """Its releases, the newest first, and what the channel offers."""
        visitor, query = visitor_of(call), call.query
        require_visible(visitor, plugin)
        found = selectors.offers_for(visitor, [plugin])[plugin]
        policy = effective_policy(visitor.customer.id)
        latest = found.latest(channel=query.channel, platform=query.platform, policy=policy)
        row = Plugin.objects.get(pk=plugin)
        return Answer(
            RegistryPluginShown(
                name=plugin,
                description=row.description,
                latest_version=latest.release.version if latest else None,
                required_tier=row.required_tier_id,
                is_private=row.is_private,
                releases=[ListedRelease.of(offer) for offer in found.offers if offer.is_for(query.platform)],
                policy=policy_shown(policy),
            )
        )


class RegistryRelease(RegistryView):
    """One release."""

    @operation("Get a release", action=READ, answer=RegistryReleaseShown)
    def get(self, call: Call, plugin: str, version: str) -> Answer:
        """Its notes and files."""
        visitor = visitor_of(call)
        require_visible(visitor, plugin)
        offer = selectors.offers_for(visitor, [plugin])[plugin].offer(version)
        if offer is None:
            raise NotFound()
        return Answer(RegistryReleaseShown.of(offer))


class RegistryUpdates(RegistryView):
    """What is newer."""

    @operation("Ask what is newer", action=READ, asked=UpdatesAsked, answer=UpdatesShown)
    def post(self, call: Call, asked: UpdatesAsked) -> Answer:
        """One answer for each plugin, in the order asked."""
        visitor = visitor_of(call)
        visible = set(selectors.visible_plugins(visitor))
        found = selectors.offers_for(visitor, {entry.plugin for entry in asked.installed} & visible)
        policy = effective_policy(visitor.customer.id)
        updates = [
            _update(entry, found.get(entry.plugin), policy, channel=asked.channel, platform=asked.platform)
            for entry in asked.installed
        ]
        return Answer(UpdatesShown(updates=updates, auto_update=policy.auto_update))


class RegistryDownload(RegistryView):
    """Asking for the bytes."""

    scope = DOWNLOAD

    @operation(
        "Ask for a download",
        action=DOWNLOAD,
        asked=DownloadAsked,
        answers={200: DownloadShown, 202: BuildWaitShown},
        problems=[(403, "ALLOWLIST_VIOLATION"), (403, "PLUGIN_QUARANTINED"), (403, "DOWNLOAD_CAP_REACHED")],
        waits=True,  # not for long: a refusal must be able to commit its record
    )
    def post(self, call: Call, asked: DownloadAsked, plugin: str, version: str) -> Answer:
        """A URL that lives five minutes at most; 202 and where to wait while the customer's build is being made."""
        visitor, target = visitor_of(call), f"{asked.os}/{asked.arch}"
        with transaction.atomic():
            outcome = ask_download(visitor=visitor, plugin=plugin, version=version, target=target)
        if isinstance(outcome, Refused):
            raise outcome.error
        if isinstance(outcome, Handed):
            return Answer(_download_shown(outcome), holds_secret=True)
        return waiting(outcome.request)


class RegistryBuildWait(RegistryView):
    """Where to wait for a build."""

    @operation("Ask how a build goes", action=READ, answers={200: BuildWaitShown, 202: BuildWaitShown})
    def get(self, call: Call, request_id: str) -> Answer:
        """202 while it is being made, 200 when it is ready or has failed."""
        return waiting(selectors.requested_build(visitor_of(call).customer.id, request_id))


def visitor_of(call: Call) -> Visitor:
    """Who calls."""
    principal = call.principal
    if not isinstance(principal, RegistryPrincipal) or principal.visitor is None:
        raise TypeError("a registry view is called by a visitor")
    return principal.visitor


def require_visible(visitor: Visitor, plugin: str) -> None:
    """Raise `NotFound` for what the visitor may not see, or what is in quarantine."""
    if not visitor.may_see(plugin) or visitor.is_plugin_quarantined(plugin):
        raise NotFound()


def plugins_shown(visitor: Visitor, *, platform: str, channel: str) -> RegistryPluginsShown:
    """The plugins that a channel offers a visitor for a platform."""
    names = selectors.visible_plugins(visitor)
    policy = effective_policy(visitor.customer.id)
    rows = Plugin.objects.in_bulk(names)
    listed = []
    for name, found in selectors.offers_for(visitor, names).items():
        latest = found.latest(channel=channel, platform=platform, policy=policy)
        row = rows.get(name)
        if latest is None or row is None or name in policy.blocked_plugins:
            continue
        listed.append(
            ListedPlugin(
                name=name,
                description=row.description,
                latest_version=latest.release.version,
                published_at=published(latest.release.published_at),
                targets=latest.targets,
                required_tier=row.required_tier_id,
                is_private=row.is_private,
            )
        )
    return RegistryPluginsShown(plugins=listed, policy=policy_shown(policy))


def policy_shown(policy: CustomerPolicy) -> PolicyShown:
    """A policy with its newest signature."""
    return PolicyShown.of(policy, selectors.signed_policy(policy.customer_id))


def waiting(row: RequestedBuild) -> Answer:
    """202 with where to ask again, or 200 once there is nothing to wait for."""
    body = BuildWaitShown.of(row)
    location = f"/api/registry/requests/{row.id}"
    if row.status in (RequestedBuild.Status.READY, RequestedBuild.Status.FAILED):
        return Answer(body)
    return Answer(body, 202, {"Location": location, "Retry-After": RETRY_AFTER_SECONDS})


def _download_shown(handed: Handed) -> DownloadShown:
    row = handed.artifact
    return DownloadShown(
        url=handed.url,
        expires_at=handed.expires_at,
        filename=row.filename,
        sha256=row.sha256,
        size=row.file.size,
        signature=base64.b64encode(bytes(row.signature)).decode("ascii") if row.signature is not None else None,
        certificate=pem(bytes(row.certificate)) if row.certificate is not None else None,
    )


def _update(
    entry: InstalledAsked,
    found: selectors.PluginOffers | None,
    policy: CustomerPolicy,
    *,
    channel: str,
    platform: str,
) -> UpdateShown:
    if found is None:
        return UpdateShown(plugin=entry.plugin, installed_version=entry.version, status="unknown", latest_version=None)
    latest = found.latest(channel=channel, platform=platform, policy=policy)
    latest_version = latest.release.version if latest else None
    return UpdateShown(
        plugin=entry.plugin,
        installed_version=entry.version,
        status=_status(entry.version, latest, found),
        latest_version=latest_version,
    )


def _status(version: str, latest: selectors.Offer | None, found: selectors.PluginOffers) -> Any:
    installed, here = parse_version(version), found.offer(version)
    if latest is not None and (installed is None or latest.precedence > installed):
        return "update_available"
    # From another channel than the one asked for it may be newer, and as it should be.
    return "current" if here is not None and found.is_offered(here) else "withdrawn"
