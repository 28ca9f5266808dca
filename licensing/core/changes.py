"""Telling this process, at commit, whose state it has just changed: it must read its own writes at once.

Other processes hear of it through PostgreSQL (DESIGN §7). This is the short way for the process that wrote.
"""

from collections.abc import Callable

from django.db import transaction

CATALOGUE = "catalogue"

_listeners: list[Callable[[str], None]] = []


def on_change(listener: Callable[[str], None]) -> None:
    """Have `listener` called with a customer's id, or CATALOGUE, after each commit of a change."""
    if listener not in _listeners:
        _listeners.append(listener)


def announce(customer_id: str) -> None:
    """Say, inside the transaction of the change, whom it concerns; empty: the catalogue."""
    transaction.on_commit(lambda: _tell(customer_id or CATALOGUE))


def _tell(subject: str) -> None:
    for listener in _listeners:
        listener(subject)
