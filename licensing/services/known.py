"""What the database knows of the build and the machine of one request: one statement for both."""

from dataclasses import dataclass
from typing import Final

from licensing.core.postgresql.prepared import fetch_row
from licensing.rules.pipeline import Build
from licensing.services.installations import Machine

_SQL: Final = """
SELECT b.id, extract(epoch FROM b.expires_at)::float8, i.id, i.released_at IS NULL,
       extract(epoch FROM i.lease_until)::float8
  FROM (SELECT) request
  LEFT JOIN build_credential b
    ON b.customer_id = %(customer)s AND b.plugin_id = %(plugin)s AND b.version = %(version)s
   AND b.signature_digest = sha256(%(signature)s::bytea)
  LEFT JOIN installation i
    ON i.customer_id = %(customer)s AND i.plugin_id = %(plugin)s AND i.mode = %(mode)s
   AND i.fingerprint = %(fingerprint)s
"""

_NAMED_SQL: Final = """
SELECT b.id, extract(epoch FROM b.expires_at)::float8, extract(epoch FROM i.lease_until)::float8
  FROM (SELECT) request
  LEFT JOIN build_credential b ON b.id = %(build)s AND b.customer_id = %(customer)s
  LEFT JOIN installation i ON i.id = %(installation)s AND i.customer_id = %(customer)s
"""


@dataclass(frozen=True, slots=True)
class KnownInstallation:
    """An installation's row, as far as a decision needs it; `lease_until` in Unix seconds."""

    id: str
    is_active: bool
    lease_until: float | None


@dataclass(frozen=True, slots=True)
class Known:
    """The build that the signature names, and the installation of the fingerprint, where there are any."""

    build: Build | None
    installation: KnownInstallation | None


def look_up(machine: Machine, signature: bytes | None) -> Known:
    """Look both up; a signature of None or of no bytes names no build."""
    row = fetch_row(
        _SQL,
        {
            "customer": machine.customer_id,
            "plugin": machine.plugin,
            "version": machine.version,
            # NULL equals nothing.
            "signature": signature or None,
            "mode": machine.mode,
            "fingerprint": machine.fingerprint,
        },
    )
    build_id, build_expires, installation_id, is_active, lease_until = row or (None,) * 5
    return Known(
        Build(build_id, build_expires) if build_id else None,
        KnownInstallation(installation_id, is_active, lease_until) if installation_id else None,
    )


@dataclass(frozen=True, slots=True)
class KnownOfToken:
    """What a token names, as it is now: its build (None where it has none, or it is gone), and until when a lease
    keeps the installation's place (Unix seconds)."""

    build: Build | None
    lease_until: float | None


def look_up_token(*, customer_id: str, build_id: str | None, installation_id: str) -> KnownOfToken:
    """Look up what whoever mints a token's successor has to know."""
    row = fetch_row(_NAMED_SQL, {"customer": customer_id, "build": build_id, "installation": installation_id})
    found_id, expires_at, lease_until = row or (None,) * 3
    return KnownOfToken(Build(found_id, expires_at) if found_id else None, lease_until)
