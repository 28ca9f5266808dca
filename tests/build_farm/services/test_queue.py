"""The queue: who is served next, that nobody gets what another has, and what becomes of dead workers' builds."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from tests.build_farm.services.conftest import fresh, now

if TYPE_CHECKING:
    from tests.build_farm.services.conftest import Farm

TARGETS = ["linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64", "windows/arm64"]


def test_interactive_ones_first_and_customers_take_turns(farm: Farm) -> None:
    from build_farm.models import Build
    from build_farm.services.queue import claim_build, queue_order

    acme, globex = farm.cast.acme.customer, farm.cast.globex.customer
    mass = [farm.ask(acme, target=target, priority="mass") for target in TARGETS[:3]]
    mass += [farm.ask(globex, target=target, priority="mass") for target in TARGETS[:2]]
    waited_for = farm.ask(acme, target=TARGETS[5])
    for build in [*mass, waited_for]:
        farm.prepare(build)
    expected = [waited_for, mass[3], mass[0], mass[4], mass[1], mass[2]]
    assert queue_order(now=now(), limit=10)[0] == waited_for.pk
    served = []
    while (build := claim_build(worker="w", now=now())) is not None:
        served.append(build.pk)
        # One worker, which is done with one before it takes the next.
        Build.objects.filter(pk=build.pk).update(state="failed", lease_until=None)
    assert served == [build.pk for build in expected]


def test_of_a_mass_rebuild_only_a_few_are_prepared_ahead(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    from build_farm.models import Build
    from build_farm.services import prepare_build

    monkeypatch.setattr(prepare_build, "MASS_WINDOW", 2)
    for target in TARGETS:
        farm.ask(target=target, priority="mass")
    assert prepare_build.prepare_waiting(now=now()) == 2
    assert prepare_build.prepare_waiting(now=now()) == 0
    waited_for = farm.ask(farm.cast.globex.customer)
    assert prepare_build.prepare_waiting(now=now()) == 1
    assert fresh(waited_for).prepared_at is not None
    assert Build.objects.filter(prepared_at=None).count() == 4


def test_a_dead_workers_build_is_given_to_the_next_and_a_late_ones_result_is_dropped(farm: Farm) -> None:
    from build_farm.services.queue import claim_build, extend_lease, hand_to_signing, lease
    from build_farm.services.sweep import free_dead_leases

    farm.prepare(farm.ask())
    start = now()
    first = claim_build(worker="first", now=start)
    assert first is not None
    assert free_dead_leases(now=start + lease() - timedelta(seconds=1)) == 0
    assert extend_lease(first, now=start + timedelta(seconds=30))
    assert free_dead_leases(now=start + lease()) == 0, "its heartbeat was heard"
    assert free_dead_leases(now=start + lease() + timedelta(seconds=30)) == 1
    row = fresh(first)
    assert (row.state, row.lease_owner) == ("queued", "")
    assert "went silent" in row.log
    assert not extend_lease(first, now=now())
    assert not hand_to_signing(first, result={})
    assert claim_build(worker="second", now=start) is None, "not at once: what killed one may kill another"
    second = claim_build(worker="second", now=start + timedelta(minutes=10))
    assert second is not None
    assert (second.pk, second.attempt) == (first.pk, 2)
    assert not hand_to_signing(first, result={}), "the first one's lease is another one's now"


def test_attempts_have_an_end(farm: Farm) -> None:
    from build_farm.services.queue import MAX_ATTEMPTS, claim_build
    from build_farm.services.sweep import free_dead_leases
    from licensing.core.models import OutboxEvent

    build = farm.prepare(farm.ask())
    at = now()
    for _ in range(MAX_ATTEMPTS):
        at += timedelta(hours=1)
        assert claim_build(worker="dying", now=at) is not None
        at += timedelta(hours=1)
        assert free_dead_leases(now=at) == 1
    row = fresh(build)
    assert (row.state, row.attempt, row.constants) == ("failed", MAX_ATTEMPTS, None)
    assert row.failure.startswith("Given up after 5 attempts")
    assert claim_build(worker="w", now=at + timedelta(days=1)) is None
    assert OutboxEvent.objects.filter(name="build.failed").count() == 1


def test_a_dead_signers_build_is_signed_by_the_next(farm: Farm) -> None:
    from build_farm.services.queue import claim_signing, lease
    from build_farm.services.sweep import free_dead_leases

    build = farm.stage(farm.ask())
    start = now() - timedelta(hours=1)
    assert claim_signing(worker="dying", now=start) is not None
    assert claim_signing(worker="other", now=start) is None
    assert free_dead_leases(now=start + lease()) == 1
    assert fresh(build).state == "signing"
    assert farm.sign()
    assert fresh(build).state == "published"


def test_a_build_that_was_put_off_waits_its_time(farm: Farm) -> None:
    from build_farm.services.queue import claim_build, try_again_later

    farm.prepare(farm.ask())
    start = now()
    build = claim_build(worker="w", now=start)
    assert build is not None
    assert try_again_later(build, reason="the disk is full.", now=start)
    assert claim_build(worker="w", now=start + timedelta(seconds=4)) is None
    assert claim_build(worker="w", now=start + timedelta(seconds=5)) is not None
    assert "attempt 1: the disk is full." in fresh(build).log
