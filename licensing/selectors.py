"""Reads that decisions rest on: each snapshot is one statement, so that it is one consistent state.

The statements build JSON arrays in the order of the fields of `licensing.rules.snapshot`; msgspec decodes them into
those structures without a step between. A customer's is kept as it was written, and decoded for each decision.
"""

from typing import Final

import msgspec
from django.db import connection

from licensing.core.postgresql.prepared import fetch_row
from licensing.rules.snapshot import Catalogue, CustomerSnapshot

_EPOCH: Final = "extract(epoch FROM {0})::float8"


def _epoch(column: str) -> str:
    return _EPOCH.format(column)


_CUSTOMER_SQL: Final = f"""
SELECT jsonb_build_array(
  c.id, c.name, c.suspended_at IS NOT NULL, c.proof_required,
  (SELECT jsonb_build_array(s.tier_id, s.status, {_epoch("s.period_end")}, {_epoch("s.grace_until")},
                            s.installation_limit)
     FROM subscription s WHERE s.customer_id = c.id),
  coalesce((SELECT jsonb_agg(jsonb_build_array(
       k.id, translate(encode(k.digest, 'base64'), E'\\n', ''), k.mode, to_jsonb(k.scopes),
       CASE WHEN cardinality(k.cidrs) > 0 THEN to_jsonb(k.cidrs) END,
       {_epoch("k.expires_at")}, k.revoked_at IS NOT NULL) ORDER BY k.id)
     FROM api_key k WHERE k.customer_id = c.id), '[]'),
  (SELECT jsonb_agg(jsonb_build_array(e.feature_id, e.value, e.id, e.source) ORDER BY e.id)
     FROM entitlement e WHERE e.customer_id = c.id AND e.kind = 'override'),
  (SELECT jsonb_agg(jsonb_build_array(e.feature_id, e.value, {_epoch("e.starts_at")}, {_epoch("e.ends_at")},
                                      e.id, e.source) ORDER BY e.id)
     FROM entitlement e WHERE e.customer_id = c.id AND e.kind = 'temporary' AND e.ends_at > now()),
  (SELECT jsonb_agg(a.plugin_id ORDER BY a.plugin_id) FROM plugin_access a WHERE a.customer_id = c.id),
  (SELECT jsonb_agg(jsonb_build_array(q.scope, q.plugin_name, q.target))
     FROM quarantine q WHERE q.customer_id = c.id AND q.lifted_at IS NULL),
  (SELECT jsonb_object_agg(g.kind || ':' || g.subject_id, g.value)
     FROM generation g WHERE g.customer_id = c.id)
)::text
FROM customer c WHERE c.id = %(customer)s
"""  # noqa: S608  assembled from constants of this module alone

_CATALOGUE_SQL: Final = """
SELECT jsonb_build_array(
  EXISTS (SELECT 1 FROM lockdown),
  coalesce((SELECT jsonb_object_agg(t.name, jsonb_build_array(
       t.name, t.rank, t.requests_per_minute, t.events_per_day, t.installation_limit,
       coalesce((SELECT jsonb_object_agg(g.feature_id, g.value) FROM tier_grant g WHERE g.tier_id = t.name), '{}')))
     FROM tier t), '{}'),
  coalesce((SELECT jsonb_object_agg(f.code, f.value_type) FROM feature f), '{}'),
  coalesce((SELECT jsonb_object_agg(p.name, jsonb_build_array(
       p.name, p.required_tier_id,
       coalesce((SELECT jsonb_agg(pf.feature_id ORDER BY pf.id) FROM plugin_feature pf WHERE pf.plugin_id = p.name),
                '[]'),
       p.is_private, p.accepts_unsigned, p.installation_required, p.proof = 'required', p.lease_seconds,
       p.minimum_version, to_jsonb(p.blocked_versions), p.rate_limit, p.quota,
       coalesce((SELECT jsonb_object_agg(m.version, m.manifest) FROM plugin_manifest m WHERE m.plugin_id = p.name),
                '{}')))
     FROM plugin p), '{}'),
  coalesce((SELECT jsonb_agg(jsonb_build_array(q.scope, q.plugin_name, q.target))
     FROM quarantine q WHERE q.customer_id IS NULL AND q.lifted_at IS NULL), '[]'),
  coalesce((SELECT jsonb_agg(b.id) FROM quarantine q JOIN build_credential b ON b.binary_sha256 = q.target
     WHERE q.scope = 'artifact' AND q.lifted_at IS NULL AND q.target <> ''), '[]'),
  coalesce((SELECT jsonb_agg(jsonb_build_array(k.kid, k.purpose, k.state, k.public_jwk,
       CASE WHEN k.state = 'active' THEN translate(encode(k.sealed_private_key, 'base64'), E'\\n', '') END)
       ORDER BY k.created_at, k.kid)
     FROM signing_key k WHERE k.state <> 'retired'), '[]'),
  coalesce((SELECT s.kids FROM signed_key_set s ORDER BY s.version DESC LIMIT 1), '[]')
)::text
"""

_customer_decoder = msgspec.json.Decoder(CustomerSnapshot)
_catalogue_decoder = msgspec.json.Decoder(Catalogue)


def load_customer(customer_id: str) -> CustomerSnapshot | None:
    """Read one customer's snapshot from the database; None if there is no such customer."""
    packed = read_customer(customer_id)
    return None if packed is None else open_customer(packed)


def read_customer(customer_id: str) -> bytes | None:
    """Read one customer's snapshot as it is kept in memory: written out it takes a fifth of the room."""
    # Prepared, since planning it takes the server five times as long as running it.
    row = fetch_row(_CUSTOMER_SQL, {"customer": customer_id})
    return row[0].encode() if row else None


def open_customer(packed: bytes) -> CustomerSnapshot:
    """Read what `read_customer` gave; takes a few microseconds."""
    return _customer_decoder.decode(packed)


def load_catalogue() -> Catalogue:
    """Read the catalogue's snapshot from the database."""
    with connection.cursor() as cursor:
        cursor.execute(_CATALOGUE_SQL)
        (text,) = cursor.fetchone()
    return _catalogue_decoder.decode(text)


def customer_of_key(digests: tuple[bytes, ...]) -> str | None:
    """Find whose key has one of these digests: one lookup in a unique index."""
    listed = "{" + ",".join(rf'"\\x{digest.hex()}"' for digest in digests) + "}"
    row = fetch_row("SELECT customer_id FROM api_key WHERE digest = ANY(%(digests)s::bytea[])", {"digests": listed})
    return row[0] if row else None
