"""The benchmark's own arithmetic: what counts as kept, what a histogram shows, how several runs become one row."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.load import __main__ as bench
from tests.load import disk
from tests.load.population import Specification, plugin_of
from tests.load.results import MISS, NOT_COUNTED, PASS, Results, check, describe_machine, print_checks, print_row
from tests.load.revocation import CHANGES, LOCKDOWN
from tests.load.sections import hot_path, obedience


def row(what: str = "validate", **figures: Any) -> dict[str, Any]:
    ordinary = {"rate": 100.0, "p50_ms": 1.0, "p99_ms": 2.0, "max_ms": 3.0, "web_cpu_ms": 0.5, "store_cpu_ms": 0.1}
    return {"what": what, "count": 10, **ordinary, "resident_mib": 90.0, "others_cpus": 0.0, "not_200": {}, **figures}


@pytest.mark.parametrize(
    ("holds", "counts", "verdict"),
    [(True, True, PASS), (False, True, MISS), (True, False, PASS), (False, False, NOT_COUNTED)],
)
def test_a_line_of_the_budget(holds: bool, counts: bool, verdict: str) -> None:
    assert check("x", wanted="1", measured="2", holds=holds, counts=counts).verdict == verdict


def test_several_runs_are_one_row_of_medians_and_sums() -> None:
    runs = [row(rate=rate, not_200=others) for rate, others in ((1.0, {"503": 2}), (9.0, {}), (5.0, {"503": 1}))]
    found = hot_path._median_row(runs)
    assert (found["rate"], found["count"], found["runs"]) == (5.0, 30, 3)
    assert found["not_200"] == {"503": 3}


def test_a_bare_write_is_timed_from_the_instant_it_was_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that stands still is charged for all that should have been written meanwhile, as a server is."""
    now, took = [100.0], [0.0, 0.5, 0.0, 0.0]
    watch = disk.DiskWatch(tmp_path / "watch")

    def wait(seconds: float) -> bool:
        now[0] += seconds
        return not took

    def write(_descriptor: int) -> None:
        now[0] += took.pop(0)

    monkeypatch.setattr(disk, "RATE", 10.0)
    monkeypatch.setattr(disk, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(disk.os, "fdatasync", write)
    monkeypatch.setattr(watch, "_ended", SimpleNamespace(wait=wait))
    watch._watch()
    assert watch._milliseconds == pytest.approx([0, 500, 400, 300])


def test_what_is_written_for_it_is_gone_afterwards(tmp_path: Path) -> None:
    with disk.DiskWatch(tmp_path / "watch") as watch:
        pass
    assert list(tmp_path.iterdir()) == []
    assert set(watch.figures()) <= {"disk_p50_ms", "disk_p99_ms", "disk_max_ms"}


def test_what_the_disk_did_is_told_where_it_was_watched(capsys: pytest.CaptureFixture[str]) -> None:
    assert disk.summarize([]) == {}
    figures = disk.summarize([float(number) for number in range(1, 101)])
    assert figures == {"disk_p50_ms": 51.0, "disk_p99_ms": 100.0, "disk_max_ms": 100.0}
    print_row(row(**figures))
    print_row(row())
    with_disk, without = capsys.readouterr().out.splitlines()
    assert "100.0" in with_disk
    assert "100.0" not in without


def test_every_change_is_in_one_bucket_and_the_last_has_no_end() -> None:
    buckets = obedience._buckets([0.0, 1.0, 1.1, 99.0, 999.0, 1000.0, 1001.0, 60_000.0])
    assert sum(count for _, count in buckets) == 8
    assert dict(buckets)["<= 1 ms"] == 2
    assert dict(buckets)["<= 100 ms"] == 1
    assert dict(buckets)["<= 1000 ms"] == 2
    assert buckets[-1] == ("> 1000 ms", 2)
    assert obedience._quantile(sorted(map(float, range(100))), 0.99) == 99


def test_the_page_names_every_section_and_how_many_kinds_of_change() -> None:
    page = (Path(__file__).parents[2] / "docs" / "performance.md").read_text(encoding="utf-8")
    for name in (*hot_path.KINDS, *bench.SECTIONS):
        assert f"`{name}`" in page
    assert len({*CHANGES, LOCKDOWN}) == 12
    assert "twelve kinds" in page


def test_sections_are_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "--only", "validate,memory", "--quick"])
    arguments = bench._arguments()
    assert arguments.only == ["validate", "memory"]
    assert (arguments.runs, arguments.customers) == (1, 2000)
    monkeypatch.setattr(sys, "argv", ["bench", "--only", "validate,nothing"])
    with pytest.raises(SystemExit):
        bench._arguments()


def test_a_section_that_fails_is_told_and_takes_no_other_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_: object) -> None:
        raise LookupError("no such thing")

    results = Results()
    bench._attempt("broken", fail, None, results)  # type: ignore[arg-type]
    bench._attempt("whole", lambda _: results.rows.append(row()), None, results)  # type: ignore[arg-type]
    assert results.failures == {"broken": "LookupError: no such thing"}
    assert len(results.rows) == 1
    assert "broken failed" in capsys.readouterr().out


def test_what_is_told_and_what_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = Results(rows=[row(of_bare=0.25)], checks=[check("a line", wanted="1", measured="2", holds=False)])
    print_row(results.rows[0])
    print_checks(results.checks)
    told = capsys.readouterr().out
    assert "0.250" in told
    assert "MISS" in told
    results.write(tmp_path / "new" / "bench.json", describe_machine())
    written = json.loads((tmp_path / "new" / "bench.json").read_text())
    assert written["machine"]["cpus"] >= 1
    assert written["checks"][0]["verdict"] == MISS
    assert written["rows"][0]["of_bare"] == 0.25


def test_own_plugins_are_nobody_elses() -> None:
    specification = Specification(
        customers=50, installations=50, plugins=3, own_plugins=10, requests_file="", members_file="", host=""
    )
    plugins = [plugin_of(number, specification) for number in range(50)]
    own = plugins[:10]
    assert len(set(own)) == 10
    assert not set(own) & set(plugins[10:])
    assert set(plugins[10:]) == {0, 1, 2}
