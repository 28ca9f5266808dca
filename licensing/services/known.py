"""What the database knows of the build and the machine of one request: one statement for both."""

from dataclasses import dataclass
from typing import Final

from django.db import connection

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

_BUILD_SQL: Final = """
SELECT id, extract(epoch FROM expires_at)::float8 FROM build_credential WHERE id = %s AND customer_id = %s
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
    with connection.cursor() as cursor:
        cursor.execute(
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
        build_id, build_expires, installation_id, is_active, lease_until = cursor.fetchone()
    return Known(
        Build(build_id, build_expires) if build_id else None,
        KnownInstallation(installation_id, is_active, lease_until) if installation_id else None,
    )


def find_build(build_id: str, *, customer_id: str) -> Build | None:
    """The build that a token names, as it is now; None where it is gone."""
    with connection.cursor() as cursor:
        cursor.execute(_BUILD_SQL, [build_id, customer_id])
        row = cursor.fetchone()
    return Build(*row) if row else None
