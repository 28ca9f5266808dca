"""Which versions a vendor no longer serves (Semantic Versioning 2.0.0)."""

import pytest

from licensing.rules.versions import is_blocked, parse_version

# Name: version, minimum, blocked, answer.
CASES = {
    "no policy": ("1.0.0", "", (), False),
    "no policy, unreadable version": ("nightly", "", (), False),
    "the minimum itself": ("2.1.0", "2.1.0", (), False),
    "a patch below": ("2.0.9", "2.1.0", (), True),
    "a patch above": ("2.1.1", "2.1.0", (), False),
    "numbers, not text": ("2.10.0", "2.9.0", (), False),
    "a pre-release is below its release": ("2.1.0-rc.1", "2.1.0", (), True),
    "a pre-release above a pre-release minimum": ("2.1.0-rc.2", "2.1.0-rc.1", (), False),
    "numeric identifiers compare as numbers": ("2.1.0-rc.10", "2.1.0-rc.9", (), False),
    "build metadata has no precedence": ("2.1.0+build.5", "2.1.0", (), False),
    "build metadata lifts nothing": ("2.0.9+99", "2.1.0", (), True),
    "a leading v": ("v2.1.0", "2.1.0", (), False),
    "a leading v below": ("v2.0.0", "2.1.0", (), True),
    "unreadable beside a minimum": ("nightly", "2.1.0", (), True),
    "too few numbers beside a minimum": ("2.1", "2.1.0", (), True),
    "an unreadable minimum blocks nothing": ("1.0.0", "soon", (), False),
    "named": ("2.1.0", "", ("2.1.0",), True),
    "named though above the minimum": ("2.1.0", "1.0.0", ("2.0.0", "2.1.0"), True),
    "another is named": ("2.1.1", "", ("2.1.0",), False),
    "other build metadata is another name": ("2.1.0+hotfix", "", ("2.1.0",), False),
    "unreadable and named": ("nightly", "", ("nightly",), True),
}


@pytest.mark.parametrize("name", CASES)
def test_is_blocked(name: str) -> None:
    version, minimum, blocked, answer = CASES[name]
    assert is_blocked(version, minimum=minimum, blocked=blocked) is answer


@pytest.mark.parametrize("text", ["", "1", "1.2", "01.2.3", "1.2.3-", "1.2.3+", "vv1.2.3", " 1.2.3", "1.2.3\n"])
def test_what_is_no_version(text: str) -> None:
    assert parse_version(text) is None
