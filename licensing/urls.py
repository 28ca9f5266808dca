"""Every URL of the server. A path is accepted with and without its trailing slash."""

from django.conf import settings
from django.contrib import admin
from django.urls import path, re_path

from accounts.api import urls as accounts_urls
from accounts.portal import urls as accounts_pages
from build_farm.api import urls as build_farm_urls
from build_farm.portal import operator_urls as build_farm_operator_pages
from build_farm.portal import urls as build_farm_pages
from licensing.api import discovery, health, metrics, plugins, schema
from licensing.api import urls as licensing_urls
from licensing.core.api.routes import route
from licensing.portal import urls as licensing_pages
from registry.api import urls as registry_urls
from registry.portal import operator_urls as registry_operator_pages
from registry.portal import urls as registry_pages

handler400 = "accounts.portal.handlers.bad_request"
handler403 = "accounts.portal.handlers.permission_denied"
handler404 = "accounts.portal.handlers.not_found"
handler429 = "accounts.portal.handlers.too_many_requests"
handler500 = "accounts.portal.handlers.server_error"

urlpatterns = [
    re_path(r"^api/plugins/authenticate/?$", plugins.authenticate, name="plugin-authenticate"),
    re_path(r"^api/plugins/validate/?$", plugins.validate, name="plugin-validate"),
    re_path(r"^api/plugins/refresh/?$", plugins.refresh, name="plugin-refresh"),
    re_path(r"^api/plugins/deactivate/?$", plugins.deactivate, name="plugin-deactivate"),
    re_path(r"^api/plugins/usage/?$", plugins.usage, name="plugin-usage"),
    re_path(r"^\.well-known/jwks\.json/?$", discovery.jwks, name="jwks"),
    re_path(r"^\.well-known/keywright/?$", discovery.keywright, name="discovery"),
    re_path(r"^\.well-known/keywright-keys/?$", discovery.keywright_keys, name="key-set"),
    re_path(r"^\.well-known/keywright-authority/?$", discovery.keywright_authority, name="authority"),
    re_path(r"^livez/?$", health.livez, name="livez"),
    re_path(r"^readyz/?$", health.readyz, name="readyz"),
    re_path(r"^metrics/?$", metrics.metrics, name="metrics"),
    route("api/schema", schema.schema, "schema"),
    route("api/docs", schema.docs, "docs"),
    route("api/docs/assets/<name>", schema.docs_asset, "docs-asset"),
    *accounts_urls.urlpatterns,
    *licensing_urls.urlpatterns,
    *build_farm_urls.urlpatterns,
    *registry_urls.urlpatterns,
    *accounts_pages.urlpatterns,
    *licensing_pages.urlpatterns,
    *registry_pages.urlpatterns,
    *build_farm_pages.urlpatterns,
    *registry_operator_pages.urlpatterns,
    *build_farm_operator_pages.urlpatterns,
    path("admin/", admin.site.urls),
]

if settings.ROLE != "web":
    # Where requests are decided nobody reads slowly: files have a process of their own (see registry.file_urls).
    urlpatterns += registry_urls.file_patterns
