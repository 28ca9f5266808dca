"""What other apps know of a plugin and show on its page. They say so here, since `licensing` must not look upwards."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from accounts.portal.access import CustomerRequest


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a plugin's page: a template, and what it is given as `section`."""

    template: str
    context: dict[str, Any] = field(default_factory=dict)


Maker = Callable[[CustomerRequest, str], Section]

_makers: dict[str, Maker] = {}


def declare(name: str, maker: Maker) -> None:
    """Have `maker(request, plugin)` add a section to the page of each plugin that the customer may know of."""
    _makers[name] = maker


def sections(request: CustomerRequest, plugin: str) -> list[Section]:
    """The sections of a plugin's page, in the order of their names."""
    return [_makers[name](request, plugin) for name in sorted(_makers)]
