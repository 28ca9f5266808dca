"""The portal's menus, as data. Each app declares its lines beside its URLs; who has a line's action sees it."""

from dataclasses import dataclass
from typing import Final

from django.urls import reverse
from django.utils.functional import Promise

CUSTOMER: Final = "customer"
OPERATOR: Final = "operator"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a menu. `order` sorts; `icon` names a drawing in portal/icons.svg."""

    menu: str
    order: int
    url_name: str
    label: "str | Promise"
    action: str
    icon: str


@dataclass(frozen=True, slots=True)
class Link:
    """A line of the menu as one reader sees it."""

    url: str
    label: "str | Promise"
    icon: str
    is_current: bool


_entries: dict[str, Entry] = {}


def declare(*entries: Entry) -> None:
    """Add lines to the menus."""
    for entry in entries:
        _entries[entry.url_name] = entry


def links(menu: str, *, actions: frozenset[str], path: str, customer_id: str = "") -> list[Link]:
    """The lines that somebody with `actions` sees, in order; the one that `path` is below is the current one."""
    shown = sorted(
        (entry for entry in _entries.values() if entry.menu == menu and entry.action in actions),
        key=lambda entry: entry.order,
    )
    kwargs = {"customer_id": customer_id} if customer_id else None
    found = [(entry, reverse(entry.url_name, kwargs=kwargs)) for entry in shown]
    # The overview's path is the beginning of all others: the longest match is the current one.
    matches = [url for _, url in found if path == url or path.startswith(f"{url}/")]
    current = max(matches, key=len, default="")
    return [Link(url, entry.label, entry.icon, url == current) for entry, url in found]
