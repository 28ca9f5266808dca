"""Routes that are written once and accepted with and without their trailing slash."""

import re
from collections.abc import Callable
from typing import Any

from django.urls import URLPattern, re_path

_PARAMETER = re.compile(r"<([a-z_]+)>")

DOCUMENTED: dict[str, str] = {}
"""Each route's pattern, and its path as the documentation writes it."""


def route(path: str, view: Callable[..., Any], name: str) -> URLPattern:
    """Return the route of `path`, such as `api/manage/customers/<customer_id>/api-keys/`.

    A parameter takes one segment, whatever is in it: the view says what names something.
    """
    parts = _PARAMETER.split(path.rstrip("/"))
    pattern = "".join(f"(?P<{part}>[^/]+)" if index % 2 else re.escape(part) for index, part in enumerate(parts))
    pattern = rf"^{pattern}/?\Z"
    DOCUMENTED[pattern] = "/" + _PARAMETER.sub(r"{\1}", path)
    return re_path(pattern, view, name=name)
