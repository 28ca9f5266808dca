"""Who calls, and what they may do."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from licensing.core.actor import Actor
from licensing.core.errors import DomainError, PermissionMissing


class AnswerSeal(Protocol):
    """Seals an answer so that only the caller who got it can have it again: the credential is in here."""

    def seal(self, plaintext: bytes, *, idempotency_key: str, identity: str) -> bytes:
        """Seal under the caller's credential and the Idempotency-Key."""

    def unseal(self, sealed: bytes, *, idempotency_key: str, identity: str) -> bytes:
        """Open what `seal` made for the same caller, key and row."""


def _permission_missing(_action: str) -> DomainError:
    return PermissionMissing()


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller whose credential was found good.

    `scope` names the credential, not the person behind it: answers are remembered for it alone, and those with
    secrets sealed with `answer_seal`. `customer_id` is the one customer whose things the caller may see; empty for
    operators. `refuse` makes the error for an action that is not in `permissions`.
    """

    actor: Actor
    scope: str
    permissions: frozenset[str]
    answer_seal: AnswerSeal = field(repr=False)
    customer_id: str = ""
    refuse: Callable[[str], DomainError] = _permission_missing

    @property
    def is_authenticated(self) -> bool:
        """Always true: DRF asks."""
        return True

    def require(self, action: str) -> None:
        """Raise the refusal unless the caller may do `action`."""
        if action not in self.permissions:
            raise self.refuse(action)
