"""What each database role may do (DESIGN §4), as data, and the statements that make it so.

`owner` owns the tables and is used by migrations alone. `web` serves requests and runs `control` jobs: it can write no
signing key and no certificate, so no web process can have a key of its own vouched for, and it can only add to the
audit log. `sign` writes keys and certificates, and sees little else.
"""

from collections.abc import Iterable

from psycopg import sql

APPEND_ONLY = frozenset({"audit_event"})
SIGN_WRITES = frozenset({"signing_key", "certificate", "certificate_request", "signed_key_set", "signed_policy"})
WEB_READS_ONLY = SIGN_WRITES | {"django_migrations"}
SIGN_READS = frozenset({"plugin", "django_migrations", "django_content_type", "customer_policy", "source_archive"})
# Rows that `web` has made: builds, key slots and whoever waits. `release`: its row is locked, which asks for UPDATE.
SIGN_COMPLETES = frozenset({"build", "key_slot_file", "requested_build", "release"})
# Signs a vendor's file, adds a customer's signed build, and what that stands on in the store.
SIGN_PUBLISHES = frozenset({"artifact", "stored_file"})
SIGN_APPENDS = frozenset({"audit_event", "outbox_event", "build_credential"})

_ALL = ("SELECT", "INSERT", "UPDATE", "DELETE")


def web_privileges(table: str) -> tuple[str, ...]:
    """What `web` may do with a table."""
    if table in WEB_READS_ONLY:
        return ("SELECT",)
    if table in APPEND_ONLY:
        return ("SELECT", "INSERT")
    return _ALL


def sign_privileges(table: str) -> tuple[str, ...]:
    """What `sign` may do with a table."""
    if table in SIGN_WRITES or table in SIGN_PUBLISHES:
        return ("SELECT", "INSERT", "UPDATE")
    if table in SIGN_APPENDS:
        return ("SELECT", "INSERT")
    if table in SIGN_COMPLETES:
        return ("SELECT", "UPDATE")
    return ("SELECT",) if table in SIGN_READS else ()


def grant_statements(tables: Iterable[str], *, role: str, is_sign: bool) -> list[sql.Composed]:
    """The statements that give a role exactly its privileges, whatever it had before."""
    name = sql.Identifier(role)
    statements = [
        sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {}").format(name),
        sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(name),
        sql.SQL("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {}").format(name),
    ]
    for table in sorted(tables):
        privileges = sign_privileges(table) if is_sign else web_privileges(table)
        if privileges:
            statements.append(
                sql.SQL("GRANT {} ON {} TO {}").format(
                    sql.SQL(", ").join(map(sql.SQL, privileges)), sql.Identifier(table), name
                )
            )
    return statements
