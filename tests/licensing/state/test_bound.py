"""The cache is bounded: however many customers ask, it keeps no more than it may, and every answer is the right one."""

import random
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection

from accounts.models import Customer
from accounts.services.api_keys import issue_api_key
from licensing import selectors
from licensing.core.clock import from_epoch
from licensing.models import Feature, Subscription
from licensing.services.entitlements import set_override
from licensing.services.state import Kept, Snapshots, State, decide, weigh
from licensing.snapshots.boot_clock import boot_seconds
from licensing.snapshots.cache import SnapshotCache
from licensing.snapshots.protocol import CATALOGUE
from licensing.snapshots.store import ENTRY_OVERHEAD_BYTES
from tests.licensing.cast import ACTOR, DAY, T0, Cast, make_member

pytestmark = pytest.mark.django_db(transaction=True)

ROOM = 10
MANY = [f"bound_{number:03d}" for number in range(60)]


@pytest.fixture
def customers(fresh_cast: Cast) -> list[str]:
    now = from_epoch(T0)
    Customer.objects.bulk_create(Customer(id=each, name=f"Customer {each}") for each in MANY)
    Subscription.objects.bulk_create(
        Subscription(
            customer_id=each,
            tier_id=("Free", "Pro")[number % 2],
            status="active",
            period_start=now,
            period_end=now + timedelta(days=number + 1),
        )
        for number, each in enumerate(MANY)
    )
    return MANY


def name_and_tier(state: State, customer_id: str) -> tuple[str, str | None]:
    state.catalogue()
    customer = state.customer(customer_id)
    assert customer is not None
    return customer.name, customer.subscription and customer.subscription.tier


def expected(customer_id: str) -> tuple[str, str]:
    return f"Customer {customer_id}", ("Free", "Pro")[int(customer_id[-3:]) % 2]


def ask_for_all(cache: SnapshotCache[Kept], customers: list[str], *, room: int = ROOM) -> int:
    """Ask for everybody in turn; how many are kept then."""
    for customer_id in customers:
        assert decide(lambda state, each=customer_id: name_and_tier(state, each)) == expected(customer_id)
        assert cache.size()[0] <= room
    return cache.size()[0]


def until(condition: Callable[[], bool]) -> None:
    """On a busy machine the listener may have to begin anew, and everything with it."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_many_customers_in_little_room(small_snapshots: Snapshots, customers: list[str]) -> None:
    cache = small_snapshots.cache
    until(lambda: ask_for_all(cache, customers) == ROOM)
    assert cache.counters().evictions > 0
    assert cache.counters().oversized == 0
    # What was used last is what is kept; and the catalogue, which everybody uses, is never the one to go.
    until(lambda: cache.read(customers[-1], boot_seconds()) is not None)
    until(lambda: cache.read(CATALOGUE, boot_seconds()) is not None)
    assert cache.read(customers[0], boot_seconds()) is None


def test_many_threads_in_little_room(small_snapshots: Snapshots, customers: list[str]) -> None:
    wrong: list[str] = []
    most = 0

    def ask(seed: int) -> None:
        nonlocal most
        chosen = random.Random(seed)
        try:
            for _ in range(60):
                customer_id = chosen.choice(customers)
                if decide(lambda state, each=customer_id: name_and_tier(state, each)) != expected(customer_id):
                    wrong.append(customer_id)
                most = max(most, small_snapshots.cache.size()[0])
        finally:
            connection.close()

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert 0 < most <= ROOM
    assert small_snapshots.cache.counters().evictions > 0


def test_bytes_are_counted_as_they_are_kept(snapshots: Snapshots, customers: list[str]) -> None:
    until(lambda: ask_for_all(snapshots.cache, customers, room=1000) == len(customers) + 1)
    _, size = snapshots.cache.size()
    packed = [selectors.read_customer(customer_id) or b"" for customer_id in customers]
    kept = sum(sys.getsizeof(each) for each in packed) + len(customers) * ENTRY_OVERHEAD_BYTES
    assert kept < size < kept + len(customers) * 100 + weigh(selectors.load_catalogue()) + 1000


def test_an_ordinary_customer_takes_little(fresh_cast: Cast) -> None:
    """Two keys and three overrides (`make bench` measures a whole process with a hundred thousand of them)."""
    customer = make_member("ordinary").customer
    issue_api_key(customer=customer, name="Second", actor=ACTOR, expires_at=from_epoch(T0 + 365 * DAY))
    for code, value in {"api_logging": True, "batch_processing": False, "history_days": 90}.items():
        set_override(
            customer=customer, feature=Feature.objects.get(pk=code), value=value, actor=ACTOR, source="contract 2026-17"
        )
    packed = selectors.read_customer("ordinary")
    assert packed is not None
    opened = selectors.open_customer(packed)
    assert (len(opened.keys), len(opened.overrides or ())) == (2, 3)
    assert weigh(packed) + ENTRY_OVERHEAD_BYTES <= 1536
