"""The promise of instant change under every interleaving, and the proof that the test would notice a mistake."""

from typing import Any

import pytest
from hypothesis import settings

from licensing.snapshots.cache import SnapshotCache
from licensing.snapshots.protocol import Fill, FillResult, Outcome, Ticket
from tests.licensing.snapshots.protocol_model import PromiseBroken, ProtocolMachine, Version, walk

WALKS = 4_000
WALKS_AFTER_A_MUTANT = 20_000

ProtocolMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None, database=None)
TestProtocol = ProtocolMachine.TestCase


def walk_often(machine: type[ProtocolMachine], times: int) -> None:
    for seed in range(times):
        walk(machine, seed)


def test_the_promise_is_kept_on_many_random_walks() -> None:
    walk_often(ProtocolMachine, WALKS)


class StoresDirtyAnswers(SnapshotCache[Version]):
    def finish_fill(self, fill: Fill, value: Version | None, now: float) -> FillResult[Version | None]:
        fill.dirty = False
        return super().finish_fill(fill, value, now)


class TrustsFromReceipt(SnapshotCache[Version]):
    def heartbeat_received(self, seq: int, at: float) -> bool:
        if seq in self._sent:
            self._sent[seq] = at
        return super().heartbeat_received(seq, at)


class ForgetsFillsOnConnecting(SnapshotCache[Version]):
    def listener_connected(self) -> None:
        fills, self._fills = self._fills, {}
        super().listener_connected()
        self._fills = fills


class KeepsEntriesOnConnecting(SnapshotCache[Version]):
    def listener_connected(self) -> None:
        self._mark_all_dirty()
        self._listening = True


class ForgetsFillsOnAll(SnapshotCache[Version]):
    def _mark_all_dirty(self) -> None:
        pass


class ForgetsFillsOnNotify(SnapshotCache[Version]):
    def notify(self, payload: str) -> None:
        fills, self._fills = self._fills, {}
        super().notify(payload)
        self._fills = fills


class VouchesForOldTickets(SnapshotCache[Version]):
    def still_trusted(self, ticket: Ticket[Any], now: float) -> bool:  # type: ignore[override]
        return self.trusted(now) or now < ticket.deadline


class UsesDirtyAnswersOfAnyAge(SnapshotCache[Version]):
    def finish_fill(self, fill: Fill, value: Version | None, now: float) -> FillResult[Version | None]:
        super().finish_fill(fill, value, now)
        return FillResult(Outcome.UNCACHED, Ticket(value, now + 0.9))


class DatesAnswersFromTheirArrival(SnapshotCache[Version]):
    def finish_fill(self, fill: Fill, value: Version | None, now: float) -> FillResult[Version | None]:
        fill.begun = now
        return super().finish_fill(fill, value, now)


class TrustsForever(SnapshotCache[Version]):
    def read(self, key: str, now: float) -> Ticket[Version] | None:
        ticket = super().read(key, min(now, self._trusted_until - 0.001))
        return None if ticket is None else Ticket(ticket.value, now + 0.001)


def mutant(name: str, **flaws: object) -> type[ProtocolMachine]:
    return type(name, (ProtocolMachine,), flaws)


MUTANTS = [
    mutant("registers a fill after asking", registers_before_asking=False),
    mutant("drops the cache before LISTEN", listens_before_dropping=False),
    mutant("does not look again after deciding", checks_after_deciding=False),
    mutant("stores dirty answers", cache_class=StoresDirtyAnswers),
    mutant("trusts from the receipt of a heartbeat", cache_class=TrustsFromReceipt),
    mutant("forgets the fills in flight when connecting", cache_class=ForgetsFillsOnConnecting),
    mutant("keeps entries over a reconnection", cache_class=KeepsEntriesOnConnecting),
    mutant("forgets the fills in flight on all", cache_class=ForgetsFillsOnAll),
    mutant("forgets the fills in flight on a notification", cache_class=ForgetsFillsOnNotify),
    mutant("vouches for evicted values with later heartbeats", cache_class=VouchesForOldTickets),
    mutant("uses dirty answers of any age", cache_class=UsesDirtyAnswersOfAnyAge),
    mutant("dates an answer from its arrival", cache_class=DatesAnswersFromTheirArrival),
    mutant("compares sequence numbers", compares_numbers=True),
    mutant("trusts without heartbeats", cache_class=TrustsForever),
]


@pytest.mark.parametrize("machine", MUTANTS, ids=lambda machine: machine.__name__.replace(" ", "-"))
def test_the_property_notices_a_protocol_that(machine: type[ProtocolMachine]) -> None:
    with pytest.raises(PromiseBroken):
        walk_often(machine, WALKS_AFTER_A_MUTANT)
