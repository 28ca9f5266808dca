"""The routes of `registry`: what every process but `files` serves, and what that one does."""

from django.urls import re_path

from licensing.core.api.routes import route
from registry.api import customers, files, hosts, private_registry
from registry.api import manage_releases as manage

_MANAGE = "api/manage/plugins/<plugin>"
_CUSTOMER = "api/manage/customers/<customer_id>"
_RELEASE = "api/registry/plugins/<plugin>/releases/<version>"

file_patterns = [
    re_path(r"^files/(?P<segment>[A-Za-z0-9_-]{1,2048})/?\Z", files.download, name="registry-file"),
]
urlpatterns = [
    route("api/registry/plugins/", hosts.RegistryPlugins.as_view(), "registry-plugins"),
    route("api/registry/plugins/<plugin>", hosts.RegistryPlugin.as_view(), "registry-plugin"),
    route(_RELEASE, hosts.RegistryRelease.as_view(), "registry-release"),
    route(f"{_RELEASE}/download", hosts.RegistryDownload.as_view(), "registry-download"),
    route("api/registry/updates", hosts.RegistryUpdates.as_view(), "registry-updates"),
    route("api/registry/requests/<request_id>", hosts.RegistryBuildWait.as_view(), "registry-request"),
    route(f"{_MANAGE}/releases/", manage.ManagedReleases.as_view(), "manage-releases"),
    route(f"{_MANAGE}/releases/<version>", manage.ManagedRelease.as_view(), "manage-release"),
    route(f"{_MANAGE}/releases/<version>/publish", manage.ReleasePublication.as_view(), "manage-release-publish"),
    route(f"{_MANAGE}/releases/<version>/yank", manage.ReleaseYank.as_view(), "manage-release-yank"),
    route(f"{_MANAGE}/releases/<version>/unyank", manage.ReleaseUnyank.as_view(), "manage-release-unyank"),
    route(f"{_MANAGE}/releases/<version>/files/<target>", manage.ReleaseFile.as_view(), "manage-release-file"),
    route(f"{_MANAGE}/channels/", manage.Channels.as_view(), "manage-channels"),
    route(f"{_MANAGE}/channels/<channel>", manage.OneChannel.as_view(), "manage-channel"),
    route(f"{_CUSTOMER}/registry-tokens/", customers.ManagedRegistryTokens.as_view(), "manage-registry-tokens"),
    route(f"{_CUSTOMER}/registry-tokens/<token_id>", customers.ManagedRegistryToken.as_view(), "manage-registry-token"),
    route(
        f"{_CUSTOMER}/registry-tokens/<token_id>/revoke",
        customers.ManagedRegistryTokenRevocation.as_view(),
        "manage-registry-token-revoke",
    ),
    route(f"{_CUSTOMER}/policy", customers.ManagedPolicy.as_view(), "manage-policy"),
    route("api/account/registry-tokens/", customers.OwnRegistryTokens.as_view(), "account-registry-tokens"),
    route("api/account/registry-tokens/<token_id>", customers.OwnRegistryToken.as_view(), "account-registry-token"),
    route(
        "api/account/registry-tokens/<token_id>/revoke",
        customers.OwnRegistryTokenRevocation.as_view(),
        "account-registry-token-revoke",
    ),
    route("api/account/policy", customers.OwnPolicy.as_view(), "account-policy"),
    re_path(r"^private/(?P<customer_id>[^/]+)/?\Z", private_registry.index, name="private-registry"),
]
