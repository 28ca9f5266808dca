"""Reading signed JSON the one way every parser would read it."""

import json
from collections.abc import Iterable
from typing import Any, NoReturn


def parse_object(raw: bytes) -> dict[str, Any]:
    """Parse one JSON object in UTF-8.

    Duplicate members are refused (RFC 8259 §4 leaves their meaning open, so two readers of one signed
    text could disagree), and so are NaN and the infinities. The caller bounds the size.

    Raises:
        ValueError: with nothing of the text in it.
    """
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise ValueError("not a JSON object without duplicate members") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise ValueError("duplicate member")
        members[name] = value
    return members


def _no_constant(_: str) -> NoReturn:
    raise ValueError("not a JSON number")
