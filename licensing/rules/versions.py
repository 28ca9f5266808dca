"""Comparing plugin versions as Semantic Versioning 2.0.0 does."""

from functools import lru_cache

import semver


@lru_cache(maxsize=4096)
def parse_version(text: str) -> semver.Version | None:
    """Read a semantic version; None for text that is none."""
    try:
        return semver.Version.parse(text.removeprefix("v"))
    except (ValueError, TypeError):
        return None


def is_blocked(version: str, *, minimum: str, blocked: tuple[str, ...]) -> bool:
    """Whether a vendor no longer serves `version`: named, or older than the minimum, or unreadable beside one."""
    if version in blocked:
        return True
    if not minimum:
        return False
    lowest, asked = parse_version(minimum), parse_version(version)
    return lowest is not None and (asked is None or asked < lowest)
