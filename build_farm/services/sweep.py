"""The sweep (`control`): finds what dead workers and lost messages left behind."""

from datetime import datetime

import structlog
from django.db.models import F, Q

from build_farm.hints import BUILD, SIGN, hint
from build_farm.models import Build, KeySlotFile
from build_farm.services.prepare_build import prepare_waiting
from build_farm.services.queue import try_again_later

log = structlog.get_logger(__name__)

_AT_WORK = (Build.State.BUILDING, Build.State.SIGNING)


def sweep(*, now: datetime) -> None:
    """Take builds from workers that died, prepare what waits, and tell workers that there is work."""
    free_dead_leases(now=now)
    prepare_waiting(now=now)
    due = Q(not_before=None) | Q(not_before__lte=now)
    if Build.objects.filter(due, state=Build.State.QUEUED, prepared_at__isnull=False).exists():
        hint(BUILD)
    if (
        Build.objects.filter(due, state=Build.State.SIGNING, lease_until=None).exists()
        or KeySlotFile.objects.filter(signed_version__lt=F("version")).exists()
    ):
        hint(SIGN)


def free_dead_leases(*, now: datetime) -> int:
    """Give builds whose worker no longer says that it lives to the next one; after MAX_ATTEMPTS they fail."""
    dead = Build.objects.select_related("release").filter(state__in=_AT_WORK, lease_until__lte=now)
    freed = 0
    for build in dead.order_by("lease_until")[:100]:
        if try_again_later(build, reason="its worker ended or went silent.", now=now, is_dead=True):
            freed += 1
            log.warning("build.lease_lost", build_id=build.id, state=build.state, attempt=build.attempt)
    return freed
