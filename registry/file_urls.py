"""The URLs of a `files` process: files, and whether it is well. Nothing else is answered there."""

from django.urls import re_path

from licensing.api import health
from registry.api import health as files_health
from registry.api.urls import file_patterns

handler400 = "licensing.api.errors.bad_request"
handler403 = "licensing.api.errors.permission_denied"
handler404 = "licensing.api.errors.not_found"
handler500 = "licensing.api.errors.server_error"

urlpatterns = [
    *file_patterns,
    re_path(r"^livez/?\Z", health.livez, name="livez"),
    re_path(r"^readyz/?\Z", files_health.readyz, name="readyz"),
]
