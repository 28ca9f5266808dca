"""Conditions for tables that decisions are read from: what only raw SQL could write, and what no reader could read.

A snapshot is one JSON text. One row of the catalogue that does not fit its structure would be an error for every
customer, so the database refuses it.
"""

from datetime import UTC, datetime
from typing import Final

from django.db.models import BooleanField, Func, Q

# PostgreSQL has `infinity` and years that Python's datetime has not.
FIRST_INSTANT: Final = datetime(1, 1, 1, tzinfo=UTC)
LAST_INSTANT: Final = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)


def within_the_calendar(*names: str) -> Q:
    """Every instant of these columns can be read. (A check lets NULL pass.)"""
    condition = Q()
    for name in names:
        condition &= Q(**{f"{name}__gte": FIRST_INSTANT, f"{name}__lte": LAST_INSTANT})
    return condition


def is_feature_value(name: str) -> Func:
    """The JSON is true, false, a text, or a whole number of at most sixteen digits; no null, fraction or structure."""
    pattern = '^(true|false|-?[0-9]{1,16}|".*")$'
    return Func(name, template=f"(%(expressions)s::text ~ '{pattern}')", output_field=BooleanField())


def is_json_object(name: str) -> Func:
    """The JSON is an object."""
    return Func(name, template="(jsonb_typeof(%(expressions)s) = 'object')", output_field=BooleanField())


def has_no_null(name: str) -> Func:
    """No element of the array is NULL."""
    return Func(name, template="(array_position(%(expressions)s, NULL) IS NULL)", output_field=BooleanField())
