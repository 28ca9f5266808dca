"""Examples for the documentation, made from the shapes themselves, so that none can fall behind its shape."""

from typing import Any

import msgspec
from msgspec import inspect

_BY_NAME: dict[str, Any] = {
    "id": "cust_123",
    "customer_id": "cust_123",
    "email": "admin@cust-123.example",
    "key": "km_live_" + "x" * 36,
    "last4": "x7Qd",
    "feature": "api_logging",
    "plugin": "api-logger",
    "plugin_name": "api-logger",
    "tier": "Pro",
    "version": "2.1.0",
    "source_address": "203.0.113.7",
    "last_used_from": "203.0.113.7",
    "cidrs": ["203.0.113.0/24"],
    "value": True,
}
_ID_PREFIXES: dict[str, str] = {
    "ApiKey": "key",
    "IssuedApiKey": "key",
    "OperatorKey": "opk",
    "IssuedOperatorKey": "opk",
    "Entitlement": "ent",
    "Feature": "ent",
    "Layer": "ent",
    "Installation": "inst",
    "Invitation": "inv",
    "Quarantine": "qua",
}
_INSTANT = "2026-01-31T00:00:00Z"


def example_of(shape: type[msgspec.Struct]) -> dict[str, Any]:
    """An example of a shape; every member is there, and the whole is accepted by the shape."""
    members = {}
    for field in msgspec.structs.fields(shape):
        kind = inspect.type_info(field.type)
        members[field.encode_name] = _example(kind, field.encode_name)
    for name, prefix in _ID_PREFIXES.items():
        if shape.__name__.startswith(name) and isinstance(members.get("id"), str):
            members["id"] = f"{prefix}_01jv0000000000000000000000"
    return members


def _example(kind: inspect.Type, name: str) -> Any:
    """An example value for one type; a member's usual value wins where its type accepts it."""
    if isinstance(kind, inspect.Metadata):
        given = (kind.extra_json_schema or {}).get("examples")
        return given[0] if given else _example(kind.type, name)
    if isinstance(kind, inspect.UnionType):
        options = [each for each in kind.types if not isinstance(each, inspect.NoneType)]
        return _example(options[0], name) if options else None
    if name in _BY_NAME and _suits(kind, _BY_NAME[name]):
        return _BY_NAME[name]
    return _plain_example(kind, name)


def _plain_example(kind: inspect.Type, name: str) -> Any:
    match kind:
        case inspect.StructType():
            return example_of(kind.cls)
        case inspect.ListType() | inspect.VarTupleType() | inspect.CollectionType():
            return [_example(kind.item_type, name)]
        case inspect.DictType():
            return {} if isinstance(kind.value_type, inspect.AnyType) else {"name": _example(kind.value_type, name)}
        case inspect.DateTimeType():
            return _INSTANT
        case inspect.LiteralType():
            return kind.values[0]
        case inspect.BoolType():
            return True
        case inspect.IntType():
            return kind.ge if kind.ge is not None else 1
        case inspect.FloatType():
            return 1.0
        case inspect.StrType():
            return "text" * -(-(kind.min_length or 1) // 4)
    return None


def _suits(kind: inspect.Type, value: Any) -> bool:
    match kind:
        case inspect.StrType():
            return isinstance(value, str)
        case inspect.BoolType():
            return isinstance(value, bool)
        case inspect.ListType() | inspect.CollectionType():
            return isinstance(value, list)
        case inspect.AnyType():
            return True
    return False
