"""This thread's connection to the database, found without Django's look-up, which costs more than all rules together.

A thread keeps one wrapper for as long as it lives, connected or not, so finding it once is enough.
"""

import threading

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper


class _Own(threading.local):
    def __init__(self) -> None:
        self.wrapper = connections[DEFAULT_DB_ALIAS]


_own = _Own()


def own_connection() -> BaseDatabaseWrapper:
    """The wrapper of this thread; what `django.db.connection` stands for."""
    return _own.wrapper
