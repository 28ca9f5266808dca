"""Many writes that happen together or not at all, with every refusal told by its place."""

from collections.abc import Callable
from typing import TypeVar

from django.db import transaction

from licensing.core.errors import DomainError, InvalidValue

T = TypeVar("T")

MAX_ENTRIES = 500


class BatchRefused(InvalidValue):
    """Some entries cannot be done, so none was."""

    code = "BATCH_REFUSED"
    title = "Some entries cannot be done, so none was"


class Batch:
    """Collects what goes wrong; use it inside a transaction, and `finish` it there."""

    def __init__(self) -> None:
        self.errors: list[dict[str, str]] = []

    def attempt(self, place: str, write: Callable[[], T]) -> T | None:
        """Do one entry's write; keep its refusal under `place`, such as `create[3]`."""
        try:
            with transaction.atomic():
                return write()
        except DomainError as exc:
            if exc.status >= 500:
                raise
            field = f"{place}.{exc.field}" if exc.field else place
            detail = exc.detail.removeprefix(f"{exc.field}: ") if exc.field else exc.detail
            self.errors.append({"field": field, "code": exc.code, "detail": detail})
            return None

    def finish(self) -> None:
        """Raise `BatchRefused` if any entry was refused: the transaction around it rolls all of them back."""
        if self.errors:
            first = self.errors[0]
            raise BatchRefused(
                f"{first['field']}: {first['detail']}", field=first["field"], extra={"errors": self.errors}
            )
