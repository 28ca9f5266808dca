"""Every page of the portal by a name, with the person who opens it, from the URL table itself."""

from __future__ import annotations

from typing import Any

from django.urls import reverse

NOT_HTML = {
    "audit-export", "installations-export", "usage-export", "browser-reports", "theme", "end-sessions",
    "operator-view-stop", "mfa_download_recovery_codes", "mfa_login_webauthn",
}  # fmt: skip
"""Files, redirects and answers to scripts: never a page."""
IN_STEPS = {
    "portal-home", "account_logout", "account_change_password", "account_reauthenticate",
    "account_reset_password_from_key",
    "mfa_authenticate", "mfa_reauthenticate", "mfa_deactivate_totp", "mfa_generate_recovery_codes",
    "mfa_view_recovery_codes", "mfa_add_webauthn", "mfa_edit_webauthn", "mfa_remove_webauthn",
    "mfa_reauthenticate_webauthn",
}  # fmt: skip
"""Pages that only stand within a step, or show another page to whoever opens them without: see steps.py."""


def visits(cast: Any, *, kind: str = "") -> list[tuple[str, str, Any]]:
    """(name, path, person) of each page that shows something, or of one kind; person None is nobody.

    What a page shows of other things than the usual ones has a number after its name.
    """
    from tests.licensing.portal.test_matrix import PAGES

    found = []
    for entry in PAGES:
        name, access = str(entry.name), entry.callback.access
        if name in NOT_HTML | IN_STEPS or kind not in ("", access.kind):
            continue
        parts = entry.pattern.regex.groupindex
        path = reverse(name, kwargs={part: cast.names[part] for part in parts})
        person = {"public": None, "person": cast.people["owner"], "customer": cast.people["owner"]}.get(
            access.kind, cast.superuser
        )
        found.append((name, path, person))
        for number, (_, other) in enumerate((each for each in cast.others if each[0] == name), start=2):
            path = reverse(name, kwargs={part: (cast.names | other)[part] for part in parts})
            found.append((f"{name}-{number}", path, person))
    return sorted(found, key=lambda visit: (str(visit[2]), visit[0]))
