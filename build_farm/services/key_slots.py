"""Key-slot files: a build's secret for each of its customer's API keys, so that rotating a key needs no new binary.

Whoever holds the `auth` and `builds` keys writes the slots; `sign` signs what is written. What a customer is given is
always a signed text, and only one that holds the keys of now.
"""

from datetime import datetime
from typing import Any, Final

from django.db import transaction
from django.db.models import F

from accounts.keyrings import ring
from build_farm.hints import SIGN, hint_on_commit
from build_farm.models import Build, KeySlotFile
from build_farm.services.prepare_build import live_keys, open_key, slot_identity
from build_farm.signing import Signer, sign_jws
from licensing.crypto.authority import Purpose
from licensing.crypto.build_slot import seal_secret
from licensing.models import BuildCredential
from licensing.services.proofs import build_secret_identity

TYPE: Final = "keywright-keyslots/v1"
TYP: Final = "keyslots+jws"
MAX_SLOTS: Final = 500
_HAS_SECRET: Final = (Build.State.PUBLISHED, Build.State.SUPERSEDED)


def refresh_customer_slots(*, customer_id: str, now: datetime) -> int:
    """Bring the slots of every build that a customer may have installed up to its keys of now; how many changed."""
    builds = Build.objects.filter(
        customer=customer_id, state__in=_HAS_SECRET, pk__in=BuildCredential.objects.filter(customer=customer_id)
    )
    return sum(refresh_slots(build_id=pk, now=now) for pk in list(builds.values_list("pk", flat=True)))


def refresh_slots(*, build_id: str, now: datetime) -> bool:
    """Write a build's slots anew if the customer's keys are others than those that have one. Whether it did."""
    with transaction.atomic():
        # The build's row stands for a file that does not exist yet.
        build = Build.objects.select_for_update(of=("self",), no_key=True).select_related("release").get(pk=build_id)
        keys = live_keys(build.customer_id, now)[-MAX_SLOTS:]
        key_ids = sorted(row.id for row in keys)
        file = KeySlotFile.objects.filter(pk=build_id).first()
        if file is not None and file.key_ids == key_ids:
            return False
        slots = _seal(build, keys)
        if file is None:
            KeySlotFile.objects.create(build=build, version=1, key_ids=key_ids, slots=slots)
        else:
            KeySlotFile.objects.filter(pk=build_id).update(version=F("version") + 1, key_ids=key_ids, slots=slots)
        hint_on_commit(SIGN)
    return True


def current_slots(*, build_id: str, customer_id: str, now: datetime) -> str | None:
    """The signed text that holds a customer's keys of now; None while it is being made."""
    refresh_slots(build_id=build_id, now=now)
    file = KeySlotFile.objects.get(pk=build_id, build__customer=customer_id)
    if not file.is_signed:
        hint_on_commit(SIGN)
        return None
    return file.jws


def sign_due_slots(*, signer: Signer, now: datetime, limit: int = 200) -> int:
    """Sign what was written since it was last signed (`sign` only); returns how many."""
    due = KeySlotFile.objects.filter(signed_version__lt=F("version")).select_related("build")
    return sum(_sign(file, signer, now) for file in due.order_by("build_id")[:limit])


def _seal(build: Build, keys: list[Any]) -> list[dict[str, str]]:
    sealed = bytes(build.sealed_secret or b"")
    secret = ring("builds").unseal(sealed, identity=build_secret_identity(build.id))
    identity = slot_identity(build)
    opened = [open_key(row) for row in keys]
    return [{"key_hash": key.hash, "secret": seal_secret(key.root, secret, identity)} for key in opened]


def _sign(file: KeySlotFile, signer: Signer, now: datetime) -> bool:
    issued_at = now.replace(microsecond=0)
    payload = {
        "_type": TYPE,
        "build_id": file.build_id,
        "customer_id": file.build.customer_id,
        "version": file.version,
        "issued_at": int(issued_at.timestamp()),
        "slots": [{"key_hash": slot["key_hash"], "secret": slot["secret"]} for slot in file.slots],
    }
    jws = sign_jws(signer, Purpose.KEYSLOTS, payload, typ=TYP)
    # Conditional: slots that were written anew meanwhile are signed the next time.
    rows = KeySlotFile.objects.filter(pk=file.pk, version=file.version)
    return rows.update(jws=jws, signed_version=file.version, issued_at=issued_at) == 1
