"""The installation limit under real threads, real connections and real locks: it cannot race (DESIGN §5)."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest
from django.db import connections

from licensing.core.clock import from_epoch
from licensing.core.models import AuditEvent, OutboxEvent
from licensing.models import Installation
from licensing.services.installations import places_taken
from tests.licensing.api.driver import PluginApi, answer, claims, code_of
from tests.licensing.cast import T0, Cast, subscribe

pytestmark = [pytest.mark.usefixtures("clock", "empty_valkey")]

THREADS = 64
LIMIT = 10

T = TypeVar("T")


def at_once(actions: list[Callable[[], T]]) -> list[T]:
    """Run each action in a thread and on a connection of its own, all let go at the same moment."""
    start = threading.Barrier(len(actions))

    def run(action: Callable[[], T]) -> T:
        try:
            connections["default"].ensure_connection()
            start.wait(timeout=30)
            return action()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(actions)) as threads:
        return list(threads.map(run, actions))


def activate(cast: Cast, machine: str) -> Callable[[], tuple[str, str]]:
    """Authenticate on a machine: the code, and the token if there is one."""

    def ask() -> tuple[str, str]:
        response = PluginApi().authenticate(cast.acme, installation={"fingerprint": machine})
        return code_of(response), answer(response).get("token", "")

    return ask


@pytest.mark.parametrize("round_number", range(3))
def test_sixty_four_machines_and_ten_places(fresh_cast: Cast, round_number: int) -> None:
    subscribe(fresh_cast.acme.customer, installation_limit=LIMIT)
    answers = at_once([activate(fresh_cast, f"machine-{number:04}") for number in range(THREADS)])
    assert Counter(code for code, _ in answers) == {"VALID": LIMIT, "INSTALLATION_LIMIT_REACHED": THREADS - LIMIT}
    assert Installation.objects.filter(customer=fresh_cast.acme.customer).count() == LIMIT
    told = Counter(OutboxEvent.objects.filter(customer_id="cust_123").values_list("name", flat=True))
    assert (told["installation.activated"], told["plugin.denied"]) == (LIMIT, THREADS - LIMIT)
    recorded = Counter(AuditEvent.objects.filter(customer_id="cust_123").values_list("action", flat=True))
    assert (recorded["plugin.authenticated"], recorded["plugin.denied"]) == (LIMIT, THREADS - LIMIT)


def test_one_machine_sixty_four_times_is_one_installation(fresh_cast: Cast) -> None:
    subscribe(fresh_cast.acme.customer, installation_limit=LIMIT)
    answers = at_once([activate(fresh_cast, "machine-0001")] * THREADS)
    assert Counter(code for code, _ in answers) == {"VALID": THREADS}
    assert len({claims(token)["sub"] for _, token in answers}) == 1
    assert Installation.objects.filter(customer=fresh_cast.acme.customer).count() == 1
    assert OutboxEvent.objects.filter(name="installation.activated").count() == 1


def test_the_last_place_goes_to_one(fresh_cast: Cast) -> None:
    subscribe(fresh_cast.acme.customer, installation_limit=1)
    for attempt in range(4):
        Installation.objects.all().delete()
        answers = at_once([activate(fresh_cast, f"machine-{attempt}-{number}") for number in range(4)])
        assert Counter(code for code, _ in answers) == {"VALID": 1, "INSTALLATION_LIMIT_REACHED": 3}


def test_places_given_back_meanwhile(fresh_cast: Cast) -> None:
    """Whatever the order: those who got in are as many as places were free or became free."""
    subscribe(fresh_cast.acme.customer, installation_limit=LIMIT)
    held = [activate(fresh_cast, f"held-{number:04}")()[1] for number in range(LIMIT)]
    leavers: list[Callable[[], tuple[str, str]]] = [
        lambda token=token: (str(PluginApi().deactivate(token).status_code), "") for token in held
    ]
    comers = [activate(fresh_cast, f"machine-{number:04}") for number in range(THREADS - LIMIT)]
    answers = Counter(code for code, _ in at_once([*leavers, *comers]))
    assert answers["200"] == LIMIT
    taken = places_taken("cust_123", "live", from_epoch(T0))
    assert taken == answers["VALID"] <= LIMIT
    assert answers["VALID"] + answers["INSTALLATION_LIMIT_REACHED"] == THREADS - LIMIT


def test_a_limit_that_changes_meanwhile(fresh_cast: Cast) -> None:
    """Who changes the limit takes the same lock: nobody gets in by a limit that was lowered before."""
    subscribe(fresh_cast.acme.customer, installation_limit=LIMIT)

    def change(limit: int) -> Callable[[], tuple[str, str]]:
        def run() -> tuple[str, str]:
            subscribe(fresh_cast.acme.customer, installation_limit=limit)
            return "changed", ""

        return run

    changes = [change(limit) for limit in (LIMIT, 3, LIMIT + 5, 3)]
    comers = [activate(fresh_cast, f"machine-{number:04}") for number in range(THREADS - len(changes))]
    answers = Counter(code for code, _ in at_once([*changes, *comers]))
    assert answers["changed"] == len(changes)
    assert 3 <= answers["VALID"] <= LIMIT + 5
    assert Installation.objects.filter(released_at=None).count() == answers["VALID"]
    subscribe(fresh_cast.acme.customer, installation_limit=answers["VALID"])
    assert activate(fresh_cast, "one-too-many")()[0] == "INSTALLATION_LIMIT_REACHED"


def test_the_same_machine_leaving_and_coming_back(fresh_cast: Cast) -> None:
    """Its row is one, and its last token is good or revoked, never a second installation."""
    subscribe(fresh_cast.acme.customer, installation_limit=1)
    token = activate(fresh_cast, "machine-0001")()[1]
    leave: Callable[[], tuple[str, str]] = lambda: (str(PluginApi().deactivate(token).status_code), "")  # noqa: E731
    answers = at_once([leave, *[activate(fresh_cast, "machine-0001") for _ in range(8)]])
    assert {code for code, _ in answers[1:]} == {"VALID"}
    row = Installation.objects.get()
    good = [token for _, token in answers[1:] if code_of(PluginApi().validate(token)) == "VALID"]
    assert bool(good) == (row.released_at is None)
