"""Whether this process holds the pepper of every stored key: without one, "unknown" would be a guess (DESIGN §4)."""

from itertools import pairwise

from django.db.models import Q

from accounts.keyrings import peppers
from accounts.models import ApiKey
from accounts.models.api_key import KeyMaterial
from licensing.core.errors import ServiceUnavailable


def require_peppers_of_stored_keys(kind: type[KeyMaterial] = ApiKey) -> None:
    """Refuse to call a key unknown while keys of its kind are stored under a pepper that this process does not hold.

    Asked each time, by a few steps in an index: another process may have been given a new pepper a moment ago.

    Raises:
        ServiceUnavailable: the key may be one of those.
    """
    if kind._default_manager.filter(_beside(sorted(peppers().versions))).exists():
        raise ServiceUnavailable(note=f"{kind._meta.db_table}: keys are stored under a pepper that is not held here")


def _beside(held: list[int]) -> Q:
    """Every version but those of `held` (ascending, not empty), as ranges that an index can be asked for."""
    found = Q(pepper_version__lt=held[0]) | Q(pepper_version__gt=held[-1])
    for below, above in pairwise(held):
        found |= Q(pepper_version__gt=below, pepper_version__lt=above)
    return found
