"""Every page stays within a number of queries, and fast, whatever the customer has."""

from __future__ import annotations

import statistics
import time

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from tests.licensing.portal.test_matrix import CUSTOMER_PAGES, OPERATOR_PAGES
from tests.portal_cast import PortalCast, fill

INSTALLATIONS, EVENTS = 5_000, 100_000
MOST_QUERIES = 24
MEDIAN_SECONDS = 0.1


@pytest.fixture
def large(cast: PortalCast) -> PortalCast:
    """A customer with a large fleet and a long history."""
    fill(cast.acme, installations=INSTALLATIONS, events=EVENTS)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE installation; ANALYZE audit_event")
    return cast


def test_pages_are_bounded_and_fast(large: PortalCast) -> None:
    found: dict[str, tuple[int, float]] = {}
    for entry in [*CUSTOMER_PAGES, *OPERATOR_PAGES]:
        name = str(entry.name)
        if name.endswith("-export"):
            continue  # files are as long as what they hold
        names = entry.pattern.regex.groupindex  # type: ignore[union-attr]
        url = reverse(name, kwargs={part: large.names[part] for part in names})
        client = large.client(large.superuser if name.startswith("operator") else large.people["owner"])
        client.get(url)
        times = []
        for _ in range(3):
            started = time.perf_counter()
            with CaptureQueriesContext(
                connection,
            ) as queries:
                assert client.get(url).status_code == 200, name
            times.append(time.perf_counter() - started)
        found[name] = (len(queries), statistics.median(times))
    too_many = {name: count for name, (count, _) in found.items() if count > MOST_QUERIES}
    assert too_many == {}
    # On a machine that does other things too, single pages may be slow; the portal as a whole may not.
    assert statistics.median(seconds for _, seconds in found.values()) < MEDIAN_SECONDS, found
    slow = {name: round(seconds, 3) for name, (_, seconds) in found.items() if seconds > 5 * MEDIAN_SECONDS}
    assert slow == {}
