"""Template tags of the design system: instants, badges, icons, assets, pages of a list."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from django import template
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import staticfiles_storage
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from licensing.core.clock import rfc3339

register = template.Library()

_GOOD: Final = frozenset({"active", "valid", "VALID", "live", "published", "trialing", "accepted"})
_WARN: Final = frozenset(
    {"past_due", "pending", "retiring", "test", "late", "expiring", "queued", "building", "signing"}
)
_BAD: Final = frozenset({"expired", "revoked", "quarantined", "suspended", "canceled", "failed", "possible clone"})
WORDS: Final[Mapping[str, Any]] = {
    "past_due": gettext_lazy("past due"),
    "trialing": gettext_lazy("trial"),
}


@register.simple_tag
def instant(value: datetime | None, empty: str = "") -> SafeString | str:
    """An instant: in UTC as it comes, in the reader's zone once the page's script has run; exact on hover."""
    if value is None:
        return empty or _("never")
    exact = rfc3339(value)
    return format_html('<time datetime="{}" title="{}">{} UTC</time>', exact, exact, value.strftime("%-d %b %Y, %H:%M"))


@register.simple_tag
def badge(word: str, label: str = "") -> SafeString:
    """A word that says how something stands, in its colour; the word itself always says it too."""
    tone = "good" if word in _GOOD else "warn" if word in _WARN else "bad" if word in _BAD else "plain"
    return format_html('<span class="badge {}">{}</span>', tone, label or WORDS.get(word, word.replace("_", " ")))


@register.simple_tag
def icon(name: str) -> SafeString:
    """A drawing beside words that say the same."""
    return format_html(
        '<svg class="icon" aria-hidden="true" focusable="false"><use href="{}#{}"></use></svg>',
        asset("portal/icons.svg"),
        name,
    )


@register.simple_tag
def asset(path: str) -> str:
    """The URL of a static file, named with a digest of its content so that caches may keep it."""
    return f"{staticfiles_storage.url(path)}?v={_digest(path)}"


@lru_cache(maxsize=64)
def _digest(path: str) -> str:
    found = finders.find(path)
    if found is None:
        raise LookupError(path)
    with open(found, "rb") as file:  # noqa: PTH123
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


@register.simple_tag(takes_context=True)
def with_query(context: Mapping[str, Any], **changes: Any) -> str:
    """The page's own query string with some members changed; None takes one out."""
    request: HttpRequest = context["request"]
    query = request.GET.copy()
    for name, value in changes.items():
        query.pop(name, None)
        if value is not None:
            query[name] = str(value)
    return f"?{query.urlencode()}"


@register.filter
def member(mapping: Mapping[str, Any], key: str) -> Any:
    """A mapping's member by a name that is itself a value."""
    return mapping.get(key)


@register.filter
def thousands(value: int | None) -> str:
    """A whole number with thin spaces, as one reads it: 1 234 567."""
    return "" if value is None else f"{value:,}".replace(",", " ")


@register.filter
def may(visitor: Any, action: str) -> bool:
    """Whether the reader's role has an action."""
    return visitor is not None and action in visitor.actions
