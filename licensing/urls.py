"""Every URL of the server. A path is accepted with and without its trailing slash."""

from django.urls import re_path

from accounts.api import urls as accounts_urls
from licensing.api import discovery, health, plugins

handler400 = "licensing.api.errors.bad_request"
handler403 = "licensing.api.errors.permission_denied"
handler404 = "licensing.api.errors.not_found"
handler500 = "licensing.api.errors.server_error"

urlpatterns = [
    re_path(r"^api/plugins/authenticate/?$", plugins.authenticate, name="plugin-authenticate"),
    re_path(r"^api/plugins/validate/?$", plugins.validate, name="plugin-validate"),
    re_path(r"^api/plugins/refresh/?$", plugins.refresh, name="plugin-refresh"),
    re_path(r"^api/plugins/deactivate/?$", plugins.deactivate, name="plugin-deactivate"),
    re_path(r"^api/plugins/usage/?$", plugins.usage, name="plugin-usage"),
    re_path(r"^\.well-known/jwks\.json$", discovery.jwks, name="jwks"),
    re_path(r"^\.well-known/keywright$", discovery.keywright, name="discovery"),
    re_path(r"^\.well-known/keywright-keys$", discovery.keywright_keys, name="key-set"),
    re_path(r"^\.well-known/keywright-authority$", discovery.keywright_authority, name="authority"),
    re_path(r"^livez/?$", health.livez, name="livez"),
    re_path(r"^readyz/?$", health.readyz, name="readyz"),
    *accounts_urls.urlpatterns,
]
