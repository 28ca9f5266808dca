"""What is asked in a fixed form is read whole: in Python's `re` a bare `$` lets a line break follow."""

import re
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import msgspec
import pytest

from accounts.models import Customer, Invitation, User
from licensing.api.schema import schema_document
from licensing.core.api import schema
from licensing.core.api.shapes import Asked, ListQuery
from licensing.models import Feature, Installation, Plugin, Tier
from licensing.services.asked import AuthenticateAsked, RefreshAsked, ValidateAsked
from licensing.services.report import ReportAsked
from licensing.services.usage import UsageAsked
from tests import cast

PLUGIN_API = (AuthenticateAsked, ValidateAsked, RefreshAsked, ReportAsked, UsageAsked)


def asked_shapes() -> list[type[msgspec.Struct]]:
    """Everything that a request is read by."""
    schema_document()  # names every shape
    management = [shape for shape in schema._shapes.values() if issubclass(shape, Asked | ListQuery)]
    return [*PLUGIN_API, *management]


def patterns(kind: Any, seen: set[Any] | None = None) -> Iterator[str]:
    """The patterns of a type and of all that is in it."""
    seen = set() if seen is None else seen
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        if kind not in seen:
            seen.add(kind)
            for field in msgspec.structs.fields(kind):
                yield from patterns(field.type, seen)
        return
    for part in get_args(kind):
        if isinstance(part, msgspec.Meta):
            if part.pattern is not None:
                yield part.pattern
        elif get_origin(part) is not None or isinstance(part, type):
            yield from patterns(part, seen)


def test_no_pattern_ends_before_a_line_break() -> None:
    shapes = asked_shapes()
    found = {(shape.__name__, pattern) for shape in shapes for pattern in patterns(shape)}
    assert len(shapes) > 30
    assert len(found) > 20
    bare = {(name, pattern) for name, pattern in found if re.search(r"(?<!\\n\))\$$", pattern)}
    assert bare == set()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "customers/", {"id": "acme_2\n", "name": "x"}, "id"),
        ("POST", "features/", {"code": "new_one\n", "name": "x", "value_type": "bool"}, "code"),
        ("POST", "tiers/", {"name": "New\n", "rank": 99}, "name"),
        ("POST", "plugins/", {"name": "new\n", "required_tier": "Free"}, "name"),
        ("PATCH", "plugins/api-logger", {"minimum_version": "1.0.0\n"}, "minimum_version"),
        ("POST", "customers/acme_1/members/", {"email": "ada@acme.example\n"}, "email"),
        ("POST", "operators/", {"email": "ada@vendor.example\n"}, "email"),
    ],
)
def test_a_line_break_at_the_end_is_refused_by_name(method: str, path: str, body: dict[str, Any], field: str) -> None:
    _, admin = cast.operator()
    cast.catalogue()
    cast.customer("acme_1")
    models = (Customer, Feature, Tier, Plugin, Invitation, User, Installation)
    before = [model.objects.count() for model in models]
    response = admin(method, f"/api/manage/{path}", body)
    assert (response.status_code, msgspec.json.decode(response.content)["field"]) == (400, field)
    assert [model.objects.count() for model in models] == before
