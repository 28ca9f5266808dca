"""The promise of instant change, kept by four real web processes under load (DESIGN §7)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.load.fleet_program import Fleet, build
from tests.load.population import Member, Specification
from tests.load.revocation import CHANGES, LOCKDOWN, OF_A_PLUGIN, PROMISE_SECONDS, Watch, members_needed, run
from tests.load.server import GENEROUS_LIMITS, LoadServer

OF_EACH = 10
LOCKDOWNS = 2
LOADED = 100  # members that are asked about all the time, and nothing happens to


@pytest.fixture(scope="module")
def server() -> Iterator[LoadServer]:
    with LoadServer(settings=GENEROUS_LIMITS) as server:
        yield server


@pytest.fixture(scope="module")
def specification(server: LoadServer) -> Specification:
    needed = members_needed(OF_EACH)
    specification = Specification(
        customers=needed + LOADED,
        installations=needed + LOADED,
        # Whatever happens to the plugins of the first ones happens to nobody else.
        own_plugins=len(OF_A_PLUGIN) * OF_EACH,
        has_builds=True,
        requests_file=str(server.root / "requests"),
        members_file=str(server.root / "members.json"),
        host=server.address,
        kinds=("validate",),
    )
    specification.write(server.root / "specification.json")
    server.run("web", ["-m", "tests.load.population", str(server.root / "specification.json")])
    return specification


def test_no_process_says_the_old_yes_later_than_a_second_after_commit(
    server: LoadServer, specification: Specification
) -> None:
    members = [Member(**each) for each in json.loads(Path(specification.members_file).read_text())]
    needed = members_needed(OF_EACH)
    fleet = Fleet(build(server.root), server.address)
    requests = Path(specification.requests_file)
    server.start_web(workers=4)

    load = fleet.start("paced", requests, "-rate=150", "-seconds=12", "-connections=16", "-warmup=0")
    with Watch(fleet, requests, rate=600) as watch:
        report = run(watch, members[:needed], url=server.owner_url, changes=OF_EACH, lockdowns=LOCKDOWNS, wave=55)
    output, errors = load.communicate()
    assert load.returncode == 0, errors
    loaded = json.loads(output)["all"]

    assert report.late == []
    assert report.limited == 0
    assert {kind: len(delays) for kind, delays in report.obeyed_after.items()} == (
        dict.fromkeys(CHANGES, OF_EACH) | {LOCKDOWN: LOCKDOWNS}
    )
    assert loaded["errors"] == {}
    # How soon at the median, and how seldom 503, depends on what else this machine does: `make bench` measures both.
    assert report.median < PROMISE_SECONDS / 2
    assert report.unavailable <= 0.02 * report.answers
    assert loaded["statuses"].get("503", 0) <= 0.02 * loaded["count"]
