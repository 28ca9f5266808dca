"""SQL that makes every change of a table heard: triggers that NOTIFY whose state changed, whoever wrote it.

Statement-level, so that a bulk update notifies once per customer and not once per row; one trigger per kind of event,
because PostgreSQL allows transition tables only so (CREATE TRIGGER); ENABLE ALWAYS, so that they fire under
`session_replication_role = replica` too. A statement that touched no row notifies nobody.

Not heard: changes made on a single partition or inheriting child of the table, and DDL that rewrites values (a
migration that does so executes `NOTIFY_ALL_SQL`). A transaction that notifies holds a lock of the whole cluster from
before its commit to the end of it, so no table that is written per request may have these triggers.
"""

# ruff: noqa: S608  # names come from migrations, never from a request, and are quoted

import hashlib
from collections.abc import Sequence

from licensing.snapshots.protocol import ALL, CATALOGUE, CHANGE_CHANNEL

MAX_CUSTOMERS = 50
# Ids have 63 characters at most (and a payload 7,999 bytes): what is longer is no id, and stands for everything.
_MAX_PAYLOAD_BYTES = 200
_MAX_NAME_BYTES = 63
_EVENTS = ("insert", "update", "delete", "truncate")
_TRANSITION_TABLES = {
    "insert": "REFERENCING NEW TABLE AS new_rows ",
    "update": "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows ",
    "delete": "REFERENCING OLD TABLE AS old_rows ",
    "truncate": "",
}

NOTIFY_ALL_SQL = f"NOTIFY {CHANGE_CHANNEL}, '{ALL}'"


def install_triggers_sql(
    table: str,
    *,
    customer_column: str | None,
    when_changed: Sequence[str] | None = None,
    key_columns: Sequence[str] = ("id",),
    null_is_catalogue: bool = False,
) -> str:
    """Return SQL that makes changes of `table` heard; running it again changes nothing.

    `customer_column` holds the customer's id as it is notified; without one the table belongs to the catalogue. More
    than `MAX_CUSTOMERS` different ones in a statement, NULL, what cannot be an id, and TRUNCATE notify `all`; with
    `null_is_catalogue` a row without a customer belongs to the catalogue instead.
    With `when_changed`, an UPDATE that leaves these columns, the customer and the primary key (`key_columns`) as they
    were notifies nobody.
    """
    function = _function_name(table)
    statements = [_function_sql(function, customer_column, when_changed, key_columns, null_is_catalogue)]
    for event in _EVENTS:
        statements.append(
            f"CREATE OR REPLACE TRIGGER {_trigger_name(event)} AFTER {event.upper()} ON {_quote(table)}\n"
            f"  {_TRANSITION_TABLES[event]}FOR EACH STATEMENT EXECUTE FUNCTION {function}();"
        )
        statements.append(f"ALTER TABLE {_quote(table)} ENABLE ALWAYS TRIGGER {_trigger_name(event)};")
    return "\n".join(statements)


def remove_triggers_sql(table: str) -> str:
    """Return SQL that undoes `install_triggers_sql`; it needs the table to exist."""
    drops = [f"DROP TRIGGER IF EXISTS {_trigger_name(event)} ON {_quote(table)};" for event in _EVENTS]
    return "\n".join([*drops, f"DROP FUNCTION IF EXISTS {_function_name(table)}();"])


def _function_sql(
    function: str,
    customer_column: str | None,
    when_changed: Sequence[str] | None,
    key_columns: Sequence[str],
    null_is_catalogue: bool,
) -> str:
    owner = "NULL" if customer_column is None else _text(customer_column)
    if null_is_catalogue:
        owner = f"coalesce({owner}, '{CATALOGUE}')"
    if when_changed is None:
        updated = f"SELECT {owner} FROM old_rows UNION SELECT {owner} FROM new_rows"
    else:
        updated = _changed_sql(owner, [*key_columns, *when_changed])
    # The transition tables of the other kinds of event do not exist in a call, but PL/pgSQL plans a statement only
    # when it comes to it.
    return f"""\
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
  changed text[];
BEGIN
  CASE TG_OP
    WHEN 'INSERT' THEN changed := {_collect(f"SELECT {owner} FROM new_rows")};
    WHEN 'UPDATE' THEN changed := {_collect(updated)};
    WHEN 'DELETE' THEN changed := {_collect(f"SELECT {owner} FROM old_rows")};
    ELSE PERFORM pg_notify('{CHANGE_CHANNEL}', '{ALL}');
  END CASE;
{_notify_sql(customer_column)}
  RETURN NULL;
END
$body$;"""


def _collect(query: str) -> str:
    """Gather the distinct owners, at most one more than are notified one by one."""
    return (
        f"(SELECT array_agg(owner) FROM "
        f"(SELECT DISTINCT owner FROM ({query}) AS owners (owner) LIMIT {MAX_CUSTOMERS + 1}) AS few)"
    )


def _changed_sql(owner: str, columns: Sequence[str]) -> str:
    """Select the owners of rows that are not among the other side's rows, looking at these columns only.

    The transition tables do not say which new row was which old one. Since the primary key is among the columns,
    two rows that exchanged their values count as changed.
    """
    row = ", ".join([owner, *(_text(column) for column in columns)])
    old, new = f"SELECT {row} FROM old_rows", f"SELECT {row} FROM new_rows"
    names = ", ".join(["owner", *(f"column_{number}" for number in range(len(columns)))])
    return f"SELECT owner FROM (({old} EXCEPT ALL {new}) UNION ALL ({new} EXCEPT ALL {old})) AS changes ({names})"


def _notify_sql(customer_column: str | None) -> str:
    if customer_column is None:
        return f"""\
  IF cardinality(changed) > 0 THEN
    PERFORM pg_notify('{CHANGE_CHANNEL}', '{CATALOGUE}');
  END IF;"""
    return f"""\
  IF cardinality(changed) > {MAX_CUSTOMERS}
     OR EXISTS (SELECT FROM unnest(changed) AS id
                WHERE id IS NULL OR octet_length(id) NOT BETWEEN 1 AND {_MAX_PAYLOAD_BYTES}) THEN
    PERFORM pg_notify('{CHANGE_CHANNEL}', '{ALL}');
  ELSE
    PERFORM pg_notify('{CHANGE_CHANNEL}', id) FROM unnest(changed) AS id;
  END IF;"""


def _text(column: str) -> str:
    # As text any type can be compared, json too; "C" tells apart what a collation of the column may call equal.
    return f'{_quote(column)}::text COLLATE "C"'


def _trigger_name(event: str) -> str:
    return f"keywright_change_{event}"


def _function_name(table: str) -> str:
    name = f"keywright_change_of_{table}"
    if len(name.encode()) > _MAX_NAME_BYTES:  # PostgreSQL would cut it off, and two tables could share one
        name = f"keywright_change_of_{hashlib.sha256(table.encode()).hexdigest()[:32]}"
    return _quote(name)


def _quote(name: str) -> str:
    if not name or "\x00" in name or "$body$" in name:
        raise ValueError("not a name")
    escaped = name.replace('"', '""')
    return f'"{escaped}"'
