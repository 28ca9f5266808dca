"""Forgetting generations that no token can carry any more: each is before every decision about its customer."""

from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import connection, transaction

# Machines' clocks differ, and nothing is in a hurry.
_MARGIN: Final = timedelta(hours=1)
_AT_ONCE: Final = 2000

_SQL: Final = """
WITH silent AS (
  SELECT i.id, i.customer_id FROM installation i
    JOIN generation g ON g.customer_id = i.customer_id AND g.kind = 'installation' AND g.subject_id = i.id
   WHERE i.released_at < %s
   LIMIT %s
     FOR UPDATE OF i SKIP LOCKED
)
DELETE FROM generation g USING silent
 WHERE g.customer_id = silent.customer_id AND g.kind = 'installation' AND g.subject_id = silent.id
"""


def forget_generations(*, now: datetime) -> int:
    """Remove the generations of installations that were released longer ago than any token lives; how many.

    What was minted before the release has expired, and nothing was minted since. An installation that takes its place
    again at this very instant waits for its row, and then begins at 0 like a new one.
    """
    before = now - timedelta(seconds=settings.TOKEN_TTL_SECONDS) - _MARGIN
    forgotten = 0
    while True:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_SQL, [before, _AT_ONCE])
            portion = int(cursor.rowcount)
        forgotten += portion
        if portion < _AT_ONCE:
            return forgotten
