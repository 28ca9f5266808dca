"""What is committed before a positive answer goes out: the audit row, and how long the lease holds the place.

One statement each, so that a known installation costs one commit. Neither table has a trigger that tells web
processes to forget (DESIGN §7): nothing that happens per request may.
"""

from typing import Any, Final

import msgspec

from licensing.core.actor import Actor
from licensing.core.clock import from_epoch
from licensing.core.postgresql.prepared import execute
from licensing.rules import codes
from licensing.rules.pipeline import Facts

LEASE_STEP_SECONDS = 900

_AUDITED: Final = """
INSERT INTO audit_event (actor_kind, actor_id, actor_display, action, subject_kind, subject_id, customer_id, code,
                         source_address, request_id, detail)
VALUES (%(actor_kind)s, %(actor_id)s, '', %(action)s, 'plugin', %(plugin)s, %(customer)s, %(code)s,
        %(address)s::inet, %(request_id)s, %(detail)s::jsonb)
"""
_LEASED: Final = """
UPDATE installation SET lease_until = %(lease_bound)s
 WHERE id = %(installation)s AND (lease_until IS NULL OR lease_until < %(lease_end)s)
"""
_AUDITED_AND_LEASED: Final = f"WITH lease AS ({_LEASED}) {_AUDITED}"


def remember_authenticated(
    *, facts: Facts, actor: Actor, installation_id: str, lease_end: float | None, kept_until: float | None
) -> None:
    """Commit the audit row of an authenticate, and the lease's end where what is kept does not reach it."""
    values = _audit_values(facts, actor, installation_id)
    if lease_end is not None and (kept_until is None or kept_until < lease_end):
        execute(_AUDITED_AND_LEASED, values | _lease_values(installation_id, lease_end))
    else:
        execute(_AUDITED, values)


def remember_lease(*, installation_id: str, lease_end: float, kept_until: float | None) -> None:
    """Keep the place until the lease that is about to be handed out has run out, where it is not kept so long yet."""
    if kept_until is None or kept_until < lease_end:
        execute(_LEASED, _lease_values(installation_id, lease_end))


def _lease_values(installation_id: str, lease_end: float) -> dict[str, Any]:
    """Round the end up, so that a refresh every few minutes writes only now and then."""
    bound = -(-lease_end // LEASE_STEP_SECONDS) * LEASE_STEP_SECONDS
    return {"installation": installation_id, "lease_end": from_epoch(lease_end), "lease_bound": from_epoch(bound)}


def _audit_values(facts: Facts, actor: Actor, installation_id: str) -> dict[str, Any]:
    return {
        "actor_kind": actor.kind,
        "actor_id": actor.id,
        "action": "plugin.authenticated",
        "plugin": facts.plugin_name,
        "customer": facts.customer.id,
        "code": codes.VALID,
        "address": actor.source_address,
        "request_id": actor.request_id,
        "detail": msgspec.json.encode(
            {
                "version": facts.plugin_version,
                "installation_id": installation_id,
                "build_id": facts.build.id if facts.build else None,
            }
        ).decode(),
    }
