"""Every page stays within a number of queries, and within a tenth of a second, whatever the customer has."""

from __future__ import annotations

import os
import statistics
import time
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, reverse

from accounts.models import Customer, Membership, Role, User
from accounts.services.api_keys import issue_api_key
from tests.e2e.browser.pages import NOT_HTML
from tests.licensing.portal.test_matrix import PAGES
from tests.portal_cast import ACTOR, PortalCast, fill

INSTALLATIONS, EVENTS = 5_000, 100_000
MANY = 60
"""More than a page of a list shows, of whatever else there can be many of."""
MOST_QUERIES = 24
MEDIAN_SECONDS = 0.1
SHOWN = [entry for entry in PAGES if entry.name not in NOT_HTML]


@pytest.fixture
def large(cast: PortalCast) -> PortalCast:
    """A customer with a large fleet, a long history, and more than a page of everything else."""
    fill(cast.acme, installations=INSTALLATIONS, events=EVENTS)
    for number in range(MANY):
        issue_api_key(customer=cast.acme, name=f"Key {number}", actor=ACTOR)
        person = User.objects.create_user(f"person{number}@acme.example")
        Membership.objects.create(user=person, customer=cast.acme, role=Role.VIEWER)
    Customer.objects.bulk_create(Customer(pk=f"other_{number}", name=f"Other {number}") for number in range(MANY))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE installation; ANALYZE audit_event; ANALYZE api_key; ANALYZE membership")
    return cast


def _visit(entry: URLPattern, cast: PortalCast) -> tuple[Client, str]:
    names = entry.pattern.regex.groupindex  # type: ignore[union-attr]
    url = reverse(str(entry.name), kwargs={part: cast.names[part] for part in names})
    kind = entry.callback.access.kind  # type: ignore[attr-defined]
    person = {"public": None, "operator": cast.superuser}.get(kind, cast.people["owner"])
    return cast.client(person), url


def _is_of_many(entry: URLPattern) -> bool:
    return entry.callback.access.kind in ("customer", "operator")  # type: ignore[attr-defined]


def test_every_page_asks_a_bounded_number_of_questions(large: PortalCast) -> None:
    found: dict[str, int] = {}
    for entry in SHOWN:
        client, url = _visit(entry, large)
        client.get(url)  # what is remembered for a while is remembered now
        with CaptureQueriesContext(connection) as queries:
            answer = client.get(url)
        assert answer.status_code == 200 or not _is_of_many(entry), (entry.name, answer.status_code)
        found[str(entry.name)] = len(queries)
    assert {name: count for name, count in found.items() if count > MOST_QUERIES} == {}
    assert found["overview"] > 4  # it was counted at all


@pytest.mark.skipif("KEYWRIGHT_BENCH" not in os.environ, reason="times pages: set KEYWRIGHT_BENCH=1 on a quiet machine")
def test_every_page_answers_within_a_tenth_of_a_second(large: PortalCast, capsys: pytest.CaptureFixture[str]) -> None:
    found: list[tuple[float, str, int]] = []
    for entry in SHOWN:
        client, url = _visit(entry, large)
        client.get(url)
        found.append((_median(client, url), str(entry.name), client.get(url).status_code))
    found.sort(reverse=True)
    with capsys.disabled():
        print(f"\n{INSTALLATIONS} installations, {EVENTS} audit rows: median server time of 7")  # noqa: T201
        for seconds, name, status in found:
            print(f"{seconds * 1000:7.1f} ms  {status}  {name}")  # noqa: T201
    assert [(name, seconds) for seconds, name, _ in found if seconds >= MEDIAN_SECONDS] == []


def _median(client: Any, url: str) -> float:
    times = []
    for _ in range(7):
        started = time.perf_counter()
        client.get(url)
        times.append(time.perf_counter() - started)
    return statistics.median(times)
