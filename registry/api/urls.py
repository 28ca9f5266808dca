"""The routes of `registry`: what every process but `files` serves, and what that one does."""

from django.urls import re_path

from licensing.core.api.routes import route
from registry.api import files, hosts, private_registry

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
    re_path(r"^private/(?P<customer_id>[^/]+)/?\Z", private_registry.index, name="private-registry"),
]
