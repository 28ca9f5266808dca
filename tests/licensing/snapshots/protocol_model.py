"""A model of everything around the cache: a database, its queue, a listener, pauses; the promise is checked on it.

Time is a number that rules move, and after every step every answer that could be given is held against the promise.
Each thing that takes several steps in reality (a transaction, a fill, a decision, a heartbeat, a reconnection) takes
several rules here, so that anything can come between any two of them. The class attributes of `ProtocolMachine` are
the ways to get the protocol wrong that lie outside the cache itself.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, cast

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from licensing.snapshots.cache import SnapshotCache
from licensing.snapshots.protocol import ALL, CATALOGUE, PROMISE_SECONDS, Fill, Ticket

KEYS = ("cust_a", CATALOGUE)
SOME_KEY = ("cust_a", "cust_a", "cust_a", CATALOGUE)  # most accidents need one key again and again
SOME_PICK = (0, 1, 2)
EITHER = (False, True)
SELDOM = (False,) * 9 + (True,)

Event = Callable[..., None]


def event(when: Callable[[Any], bool] = lambda _machine: True, **choices: tuple[Any, ...]) -> Callable[[Event], Event]:
    """Make a method a rule for hypothesis, its arguments drawn from `choices`, and an event for `walk`."""

    def mark(method: Event) -> Event:
        strategies: Any = {name: st.sampled_from(values) for name, values in choices.items()}
        guard, as_rule = cast("list[Callable[[Any], Any]]", [precondition(when), rule(**strategies)])
        marked = guard(as_rule(method))
        marked.when, marked.choices = when, choices
        return cast(Event, marked)

    return mark


class PromiseBroken(AssertionError):
    """An answer rested on state that had been superseded for too long."""


@dataclass
class Version:
    """One committed state of one key. `number` was taken at the begin of its transaction, not at its commit."""

    key: str
    number: int
    ordinal: int = 0  # in commit order
    superseded_at: float | None = None


@dataclass
class Change:
    """One NOTIFY of a committed change, on its way."""

    payload: str
    version: Version


@dataclass
class ModelDatabase:
    """Current versions, transactions that are open, and the notifications of the session that listens."""

    now: float = 1000.0
    numbers: int = 0
    commits: int = 0
    current: dict[str, Version] = field(default_factory=lambda: {key: Version(key, 0) for key in KEYS})
    open_transactions: list[Version] = field(default_factory=list)
    inbox: list[Change | int] | None = None  # changes and heartbeats' numbers; None while nobody listens

    def begin(self, key: str) -> None:
        self.numbers += 1
        self.open_transactions.append(Version(key, self.numbers))

    def commit(self, pick: int, *, wide: bool) -> Change:
        """Commit an open transaction, in any order; change and notification become visible at once."""
        version = self.open_transactions.pop(pick % len(self.open_transactions))
        self.commits += 1
        version.ordinal = self.commits
        self.current[version.key].superseded_at = self.now
        self.current[version.key] = version
        change = Change(ALL if wide else version.key, version)
        self.enqueue(change)
        return change

    def enqueue(self, message: Change | int) -> None:
        if self.inbox is not None:
            self.inbox.append(message)


@dataclass
class Question:
    """A fill on its way: registered and asked, in the order that the protocol (or a mutant) gives."""

    key: str
    floor: int
    fill: Fill | None = None
    answer: Version | None = None


@dataclass
class Decision:
    """A ticket that a thread holds while it decides; `floor` is the last local commit before it began."""

    ticket: Ticket[Version | None]
    floor: int


class ProtocolMachine(RuleBasedStateMachine):
    """Every interleaving of the protocol; fails with PromiseBroken where an answer is too old."""

    cache_class: type[SnapshotCache[Version]] = SnapshotCache
    registers_before_asking = True
    listens_before_dropping = True
    checks_after_deciding = True
    compares_numbers = False

    def __init__(self) -> None:
        super().__init__()
        self.db = ModelDatabase()
        self.cache = self.cache_class(max_entries=2, max_bytes=10_000, weigh=lambda _version: 100)
        self.questions: list[Question] = []
        self.decisions: list[Decision] = []
        self.local_commits = dict.fromkeys(KEYS, 0)
        self.beats = 0
        self.beats_leaving: list[int] = []
        self.connecting = False
        self.listening = False

    @initialize(warm=st.booleans())
    def start(self, warm: bool) -> None:
        if warm:
            self.connect()
            self.finish_connecting()
            self.exchange_heartbeat()
            for key in KEYS:
                self.fill(key)

    # The listener

    @event(lambda self: not self.connecting and not self.listening)
    def connect(self) -> None:
        self.connecting = True
        if self.listens_before_dropping:
            self.db.inbox = []
        else:
            self.cache.listener_connected()

    @event(lambda self: self.connecting)
    def finish_connecting(self) -> None:
        if self.listens_before_dropping:
            self.cache.listener_connected()
        else:
            self.db.inbox = []
        self.connecting, self.listening = False, True

    @event(lambda self: not self.connecting)
    def reconnect(self) -> None:
        if self.listening:
            self.lose_connection()
        self.connect()
        self.finish_connecting()

    @event(lambda self: self.listening)
    def lose_connection(self) -> None:
        self.db.inbox = None
        self.listening = False
        self.cache.listener_lost()

    def prepare_heartbeat(self) -> None:
        self.beats += 1
        self.beats_leaving.append(self.beats)
        self.cache.heartbeat_sent(self.beats, self.db.now)

    @event(in_one_step=EITHER)
    def send_heartbeat(self, in_one_step: bool) -> None:
        """A heartbeat may commit long after it was sent, even over a connection that has been given up since."""
        if in_one_step or not self.beats_leaving:
            self.prepare_heartbeat()
        if in_one_step:
            self.commit_heartbeats()

    @event(lambda self: self.beats_leaving)
    def commit_heartbeats(self) -> None:
        while self.beats_leaving:
            self.db.enqueue(self.beats_leaving.pop(0))

    @event(lambda self: self.listening and self.db.inbox, up_to_heartbeat=EITHER)
    def deliver(self, up_to_heartbeat: bool) -> None:
        """Hand over one message, or all up to the next heartbeat."""
        while self.db.inbox:
            message = self.db.inbox.pop(0)
            if isinstance(message, int):
                self.cache.heartbeat_received(message, self.db.now)
                return
            if not (self.compares_numbers and self.holds_higher_number(message.version)):
                self.cache.notify(message.payload)
            if not up_to_heartbeat:
                return

    def holds_higher_number(self, version: Version) -> bool:
        """A flaw: transactions are taken to commit in the order of their numbers."""
        ticket = self.cache.read(version.key, self.db.now)
        return ticket is not None and ticket.value.number > version.number

    def exchange_heartbeat(self) -> None:
        self.send_heartbeat(True)
        while self.db.inbox:
            self.deliver(True)

    @event(lambda self: self.listening)
    def live_on_healthily(self) -> None:
        """More than a second in which everything is delivered: what is wrong by now would stay wrong."""
        for _ in range(5):
            self.db.now += 0.25
            self.exchange_heartbeat()

    # Changes

    @event(key=SOME_KEY)
    def begin_transaction(self, key: str) -> None:
        self.db.begin(key)

    @event(lambda self: self.db.open_transactions, pick=SOME_PICK, wide=EITHER, local=EITHER)
    def commit_transaction(self, pick: int, wide: bool, local: bool) -> None:
        change = self.db.commit(pick, wide=wide)
        if local:
            self.cache.notify(change.payload)
            self.local_commits[change.version.key] = change.version.ordinal

    @event(key=SOME_KEY, wide=EITHER)
    def change_elsewhere(self, key: str, wide: bool) -> None:
        self.db.begin(key)
        self.db.commit(len(self.db.open_transactions) - 1, wide=wide)

    # Questions to the database

    @event(key=SOME_KEY)
    def begin_question(self, key: str) -> None:
        question = Question(key, self.local_commits[key])
        if self.registers_before_asking:
            question.fill = self.cache.begin_fill(key, self.db.now)
        else:
            question.answer = self.db.current[key]
        self.questions.append(question)

    @event(key=SOME_KEY)
    def begin_and_ask(self, key: str) -> None:
        self.begin_question(key)
        self.questions[-1].answer = self.db.current[key]

    @event(lambda self: self.questions, pick=SOME_PICK, fails=SELDOM)
    def finish_question(self, pick: int, fails: bool) -> None:
        question = self.questions.pop(pick % len(self.questions))
        answer = question.answer or self.db.current[question.key]
        fill = question.fill or self.cache.begin_fill(question.key, self.db.now)
        if fails:
            self.cache.abandon_fill(fill)
            return
        ticket = self.cache.finish_fill(fill, answer, self.db.now).ticket
        if ticket is not None:
            self.decisions.append(Decision(ticket, question.floor))

    @event(key=SOME_KEY)
    def fill(self, key: str) -> None:
        self.begin_question(key)
        self.finish_question(len(self.questions) - 1, False)

    # Decisions

    @event(key=SOME_KEY)
    def read(self, key: str) -> None:
        """Begin a decision from memory, and stop in the midst of it."""
        ticket = self.cache.read(key, self.db.now)
        if ticket is not None:
            self.decisions.append(Decision(ticket, self.local_commits[key]))

    @invariant()
    def every_possible_answer_keeps_the_promise(self) -> None:
        for key in KEYS:
            ticket = self.cache.read(key, self.db.now)
            if ticket is not None:
                self.check(Decision(ticket, self.local_commits[key]))
        for decision in self.decisions:
            if not self.checks_after_deciding or self.cache.still_trusted(decision.ticket, self.db.now):
                self.check(decision)

    def check(self, decision: Decision) -> None:
        version = decision.ticket.value
        assert version is not None
        if version.ordinal < decision.floor:
            raise PromiseBroken("a local commit was not obeyed at once")
        if version.superseded_at is not None and self.db.now - version.superseded_at > PROMISE_SECONDS:
            raise PromiseBroken("answered by state superseded for more than the promised time")

    # Time: the network's, a stalled listener's, a stopped process's

    @event(seconds=(0.1, 0.5, 0.85, 1.2))
    def let_time_pass(self, seconds: float) -> None:
        self.db.now += seconds


def walk(machine_class: type[ProtocolMachine], seed: int, *, steps: int = 60) -> None:
    """Take one random walk through the machine: what hypothesis does, a hundred times faster, without shrinking.

    Each walk has its own taste for each event (swarm testing), which finds long accidents much sooner.
    """
    random = Random(seed)
    machine = machine_class()
    machine.start(warm=random.random() < 0.75)
    events = [getattr(machine, name) for name in EVENTS]
    weights = [random.choice((0, 1, 1, 4)) for _ in events]
    if not any(weights):
        return
    for happening in random.choices(events, weights, k=steps):
        if happening.when(machine):
            happening(**{name: random.choice(values) for name, values in happening.choices.items()})
            machine.every_possible_answer_keeps_the_promise()


EVENTS = tuple(name for name in vars(ProtocolMachine) if hasattr(getattr(ProtocolMachine, name), "choices"))
