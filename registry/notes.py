"""Release notes: Markdown as the vendor wrote it, HTML that is safe in anybody's page."""

from functools import lru_cache

import nh3
from markdown_it import MarkdownIt

_TAGS = {
    *("h1", "h2", "h3", "h4", "h5", "h6", "p", "br", "hr", "ul", "ol", "li", "blockquote", "pre", "code"),
    *("em", "strong", "a"),
}
_ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}}
_markdown = MarkdownIt("commonmark", {"html": False})


@lru_cache(maxsize=256)
def rendered(notes: str) -> str:
    """CommonMark as HTML without scripts, styles, images or raw HTML; links open nothing but http(s) and mailto."""
    return nh3.clean(
        _markdown.render(notes),
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
    )
