"""Every page of the portal by a name, with the person who opens it, from the URL table itself."""

from __future__ import annotations

from typing import Any

from django.urls import reverse

PERSONAL_WITHOUT = {"mfa_deactivate_totp", "mfa_generate_recovery_codes", "mfa_view_recovery_codes"}
"""Pages that answer with a redirect for somebody who has no second factor."""
NOT_HTML = {
    "audit-export", "installations-export", "usage-export", "browser-reports", "theme", "end-sessions",
    "operator-view-stop", "portal-home", "mfa_download_recovery_codes", "mfa_login_webauthn", "mfa_authenticate",
    "mfa_remove_webauthn", "mfa_edit_webauthn", "mfa_reauthenticate_webauthn", "mfa_reauthenticate",
    "account_reauthenticate", "account_set_password", "account_inactive", "account_reset_password_from_key",
}  # fmt: skip
"""Pages with no page of their own: files, redirects, and steps that only stand within a sign-in."""


def visits(cast: Any) -> list[tuple[str, str, Any]]:
    """(name, path, person) of each page that shows something; person None is nobody."""
    from tests.licensing.portal.test_matrix import PAGES

    found = []
    for entry in PAGES:
        name, access = str(entry.name), entry.callback.access
        if name in NOT_HTML | PERSONAL_WITHOUT:
            continue
        parts = entry.pattern.regex.groupindex
        path = reverse(name, kwargs={part: cast.names[part] for part in parts})
        person = {"public": None, "person": cast.people["owner"], "customer": cast.people["owner"]}.get(
            access.kind, cast.superuser
        )
        found.append((name, path, person))
    return sorted(found, key=lambda visit: (str(visit[2]), visit[0]))
