"""Asking for new signing keys: done here where this process can, else by the `sign` worker, which is waited for."""

import time
from collections.abc import Callable
from datetime import datetime

from django.conf import settings
from kombu.exceptions import OperationalError

from licensing.core import audit
from licensing.core.actor import Actor
from licensing.core.errors import ServiceUnavailable
from licensing.core.role_secrets import required_secrets
from licensing.models import SignedKeySet, SigningKey
from licensing.services import key_lifecycle

_POLL_SECONDS = 0.05

Hand = Callable[[str, str, bool], None]
"""Hands an order to the `sign` worker: purpose, the `kid` to leave, whether it is an emergency."""


def can_sign_here() -> bool:
    """Whether this process is a `sign` one, with the keys that only `sign` has."""
    declared = settings.DECLARED_SETTINGS
    return settings.ROLE == "sign" and all(declared[name].is_set for name in required_secrets("sign"))


def rotate_signing_key(
    *, purpose: str, emergency: bool, actor: Actor, now: datetime, hand: Hand, timeout_seconds: float
) -> str:
    """Have a new key of `purpose` made and published; returns its `kid` once it is seen.

    Raises:
        ServiceUnavailable: there is no key to rotate yet, or nothing was seen of `sign` in time.
    """
    leaving = _kid(purpose, SigningKey.State.ACTIVE)
    if leaving is None:
        raise ServiceUnavailable(f"There is no active {purpose} key: run bootstrap_keys first.")
    if can_sign_here():
        key_lifecycle.rotate(purpose=purpose, emergency=emergency, actor=actor, now=now)
    else:
        hand(purpose, leaving, emergency)
    return _await_successor(purpose, leaving, emergency=emergency, timeout_seconds=timeout_seconds)


def ask_for_rotation(
    *, purpose: str, emergency: bool, actor: Actor, now: datetime, timeout_seconds: float, reason: str = ""
) -> str:
    """Have a key rotated because somebody asks for it, and keep who did; returns as `rotate_signing_key`.

    Raises:
        ServiceUnavailable: there is no key to rotate yet, or nothing was seen of `sign` in time. The order stands.
    """
    audit.record(
        actor=actor,
        action="signing_key.rotation_asked",
        subject_kind="signing_key",
        subject_id=purpose,
        detail={"emergency": emergency} | ({"reason": reason} if reason else {}),
        is_change=False,
    )
    return rotate_signing_key(
        purpose=purpose,
        emergency=emergency,
        actor=actor,
        now=now,
        hand=hand_to_sign,
        timeout_seconds=timeout_seconds,
    )


def hand_to_sign(purpose: str, leaving: str, emergency: bool) -> None:
    """Put an order into the queue of the `sign` worker.

    Raises:
        ServiceUnavailable: there is no queue to put it into.
    """
    # Imported here: the tasks import the services.
    from licensing.tasks import rotate_signing_key as task

    try:
        task.apply_async((purpose, leaving, emergency), retry=False)
    except OperationalError as exc:
        raise ServiceUnavailable("Valkey does not answer, so the `sign` worker cannot be asked.") from exc


def _await_successor(purpose: str, leaving: str, *, emergency: bool, timeout_seconds: float) -> str:
    state = SigningKey.State.ACTIVE if emergency else SigningKey.State.PENDING
    end = time.monotonic() + timeout_seconds
    while True:
        kid = _kid(purpose, state)
        if kid is not None and kid != leaving and _is_published(kid):
            return kid
        if time.monotonic() >= end:
            raise ServiceUnavailable(
                f"The `sign` worker has not made a new {purpose} key within {timeout_seconds:g} seconds: is it running?"
                " The order waits in its queue and is carried out once, when it is back."
            )
        time.sleep(_POLL_SECONDS)


def _kid(purpose: str, state: str) -> str | None:
    return SigningKey.objects.filter(purpose=purpose, state=state).values_list("kid", flat=True).first()


def _is_published(kid: str) -> bool:
    newest = SignedKeySet.objects.order_by("-version").first()
    return newest is not None and kid in newest.kids
