"""The promise of instant change, kept by four real web processes under load (DESIGN §7)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.load.fleet_program import Fleet, build
from tests.load.population import Member, Specification
from tests.load.revocation import CHANGES, LOCKDOWN, OF_A_PLUGIN, Watch, members_needed, run
from tests.load.server import LoadServer

OF_EACH = 20
LOCKDOWNS = 3
LOADED = 200  # members that are asked about all the time, and nothing happens to


@pytest.fixture(scope="module")
def server() -> Iterator[LoadServer]:
    with LoadServer() as server:
        yield server


@pytest.fixture(scope="module")
def specification(server: LoadServer) -> Specification:
    needed = members_needed(OF_EACH)
    specification = Specification(
        customers=needed + LOADED,
        installations=needed + LOADED,
        # Whatever happens to the first plugins happens to nobody else.
        plugins=needed + LOADED,
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

    load = fleet.start("paced", requests, "-rate=150", "-seconds=25", "-connections=16", "-warmup=0")
    with Watch(fleet, requests, rate=600) as watch:
        report = run(watch, members[:needed], url=server.owner_url, changes=OF_EACH, lockdowns=LOCKDOWNS, wave=55)
    output, errors = load.communicate()
    assert load.returncode == 0, errors
    loaded = json.loads(output)["all"]

    assert report.late == []
    assert {kind: len(delays) for kind, delays in report.obeyed_after.items()} == (
        dict.fromkeys(CHANGES, OF_EACH) | {LOCKDOWN: LOCKDOWNS}
    )
    assert report.median < 0.1
    assert report.unavailable <= 0.001 * report.answers
    assert loaded["errors"] == {}
    assert loaded["statuses"].get("503", 0) <= 0.001 * loaded["count"]
    assert set(OF_A_PLUGIN) <= set(report.obeyed_after)
