"""Whether this process holds the pepper of every stored key: without one, "unknown" would be a guess (DESIGN §4)."""

import time
from typing import Final

from accounts.keyrings import peppers
from accounts.models import ApiKey
from licensing.core.errors import ServiceUnavailable

_LOOK_AGAIN_SECONDS: Final = 60.0

# By the versions that were held: until when all stored keys are taken to be under one of them.
_all_held_until: dict[tuple[int, ...], float] = {}


def require_peppers_of_stored_keys() -> None:
    """Refuse to call an API key unknown while keys are stored under a pepper that this process does not hold.

    Looks at most once a minute for each set of peppers, since new keys are stored under a pepper that is held.

    Raises:
        ServiceUnavailable: the key may be one of those.
    """
    held = peppers().versions
    if time.monotonic() < _all_held_until.get(held, 0.0):
        return
    if ApiKey.objects.exclude(pepper_version__in=held).exists():
        raise ServiceUnavailable(note="API keys are stored under a pepper that this process does not hold")
    _all_held_until[held] = time.monotonic() + _LOOK_AGAIN_SECONDS
