"""How fast customers' builds are made, and what one costs beside a bare relink: section `builds` of `make bench`.

To run it alone: `python -m tests.load.builds [BUILDS]`. To call it:

    measured = builds.measure(builds=200)   # starts and ends a server of its own; as a rule a few seconds a build
    builds.print_report(measured)           # for people
    measured.misses                         # sentences, one for each promise that was not kept
    measured.as_json()                      # for machines

A real server with its workers, its sandbox and a real compiler: as many customers as builds, each with a subscription
and a key; all builds are asked for at once and then left alone until none is on its way. Then, with the server idle and
its warm cache, `go build` after a changed main package and the whole compile stage of another customer's build are
timed in turns (`PAIRS` of them, after one of each that is not counted).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from tests.e2e.quickstart import Quickstart, document

if TYPE_CHECKING:
    from build_farm.compile import EmbeddedConstants, SourceTree
    from build_farm.workplace import Workplace

PLUGIN, VERSION = "api-logger", "2.1.0"
TARGET = "linux/amd64" if os.uname().machine == "x86_64" else "linux/arm64"
PAIRS = 10
MOST_RATIO = 1.5
LIVE = ("queued", "building", "signing")
_FIRST_SECONDS = 900.0
_EACH_SECONDS = 60.0
_DEMO = Path(__file__).parents[2] / "build_farm" / "demo" / PLUGIN


@dataclass(frozen=True, kw_only=True)
class CompileRatio:
    """Medians in seconds: `go build` relinking a changed main package, and our compile stage beside it."""

    bare_seconds: float
    stage_seconds: float

    @property
    def ratio(self) -> float:
        """How many bare relinks a customer's build takes."""
        return self.stage_seconds / self.bare_seconds


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What came of it. `states` counts how the builds ended; `stages` are medians, in seconds."""

    builds: int
    seconds: float
    states: dict[str, int]
    stages: dict[str, float]
    compile_ratio: CompileRatio
    misses: list[str] = field(default_factory=list)

    @property
    def per_minute(self) -> float:
        """Builds published in a minute, from the first question to the last package."""
        return 60 * self.states.get("published", 0) / self.seconds

    def as_json(self) -> dict[str, Any]:
        """All of it, rate and ratio included."""
        return {**asdict(self), "per_minute": self.per_minute, "ratio": self.compile_ratio.ratio}


def measure(*, builds: int = 200, pairs: int = PAIRS, cache: Path | None = None) -> Measured:
    """Have `builds` customers' builds made by a server of its own, then time `pairs` compile stages and relinks.

    `cache` is a folder of the compiler's warm layers, to be used and added to; without one the first build also
    compiles the standard library (before the clock is started). Needs the `embedded` extra.
    """
    with _new_server(cache) as (server, environment):
        vendor = _Vendor(server)
        vendor.wait_until_idle(_FIRST_SECONDS)  # the demo's own builds, which warm the cache
        customers = vendor.make_customers(builds)
        begun, clock = datetime.now(UTC), monotonic()
        asked = [vendor.ask_for_build(customer) for customer in customers]
        vendor.wait_until_idle(_FIRST_SECONDS + builds * _EACH_SECONDS)
        seconds = monotonic() - clock
        rows = [row for row in vendor.builds() if row["id"] in set(asked)]
        ended = [datetime.fromisoformat(row["finished_at"]) for row in rows if row["finished_at"]]
        measured = Measured(
            builds=builds,
            seconds=(max(ended) - begun).total_seconds() if ended else seconds,
            states=dict(Counter(row["state"] for row in rows)),
            stages=_stages(rows),
            compile_ratio=_ratio_beside(environment, pairs),
        )
        measured.misses.extend(_misses(measured))
        return measured


def print_report(measured: Measured) -> None:
    """For people."""
    ended = ", ".join(f"{number} {state}" for state, number in sorted(measured.states.items()))
    sys.stdout.write(f"{measured.builds} builds for as many customers, unattended: {ended}\n")
    sys.stdout.write(f"{'builds a minute':24} {measured.per_minute:8.1f}   ({measured.seconds:.1f} s in all)\n")
    for stage, seconds in measured.stages.items():
        sys.stdout.write(f"{f'{stage}, median':24} {seconds:8.3f} s\n")
    pair = measured.compile_ratio
    sys.stdout.write(f"{'bare go build, relink':24} {pair.bare_seconds:8.3f} s\n")
    sys.stdout.write(f"{'compile stage beside it':24} {pair.stage_seconds:8.3f} s   {pair.ratio:.2f} x\n")
    for miss in measured.misses:
        sys.stdout.write(f"MISSED: {miss}\n")


def _misses(measured: Measured) -> Iterator[str]:
    published = measured.states.get("published", 0)
    if published != measured.builds:
        yield f"{measured.builds - published} of {measured.builds} builds were not published"
    if measured.compile_ratio.ratio >= MOST_RATIO:
        ratio = f"{measured.compile_ratio.ratio:.2f}"
        yield f"a compile stage took {ratio} bare relinks, less than {MOST_RATIO} is promised"


def _stages(rows: list[dict[str, Any]]) -> dict[str, float]:
    timings = [row["timings"] for row in rows if row["state"] == "published"]
    return {
        stage: statistics.median(each[stage] for each in timings if stage in each)
        for stage in ("compile", "build", "sign")
        if any(stage in each for each in timings)
    }


@contextlib.contextmanager
def _new_server(cache: Path | None) -> Iterator[tuple[Quickstart, dict[str, str]]]:
    """A quickstart with builds, and the settings of its build worker."""
    # Not below pytest's or a user's own folders: the slots' users must be able to pass through it.
    root = Path(tempfile.mkdtemp(prefix="keywright-builds-", dir="/tmp"))
    root.chmod(0o711)
    environment = {
        "BUILD_DIR": str(root / "builds"),
        "BUILD_BASE_UID": str(70_000 + os.getpid() % 1000 * 20 + 18),
        **({"BUILD_CACHE_DIR": str(cache)} if cache is not None else {}),
    }
    server = Quickstart(root / "data", environment=environment, with_builds=True)
    try:
        yield server.wait_until_answering(), environment
    finally:
        server.close()
        shutil.rmtree(root, ignore_errors=True)


class _Vendor:
    """What an operator does, through the management API alone."""

    def __init__(self, server: Quickstart) -> None:
        told = document(server.data_dir)
        self._base: str = told["base_url"]
        self._key: str = told["operator"]["api_key"]

    def make_customers(self, count: int) -> list[str]:
        """Customers with a subscription and a key each; their ids."""
        now = datetime.now(UTC)
        subscription = {
            "tier": "Pro",
            "period_start": now.isoformat(),
            "period_end": (now + timedelta(days=30)).isoformat(),
        }
        names = [f"load_customer_{number:04}" for number in range(count)]
        for name in names:
            self._ask("POST", "/api/manage/customers/", {"id": name, "name": name})
            self._ask("PUT", f"/api/manage/customers/{name}/subscription", subscription)
            self._ask("POST", f"/api/manage/customers/{name}/api-keys/", {"name": "load"})
        return names

    def ask_for_build(self, customer: str) -> str:
        """Ask for one build; its id."""
        asked = {"customer_id": customer, "plugin": PLUGIN, "version": VERSION, "target": TARGET}
        return str(self._ask("POST", "/api/manage/builds/", asked)["id"])

    def builds(self) -> list[dict[str, Any]]:
        """Every build there is."""
        found, path = [], "/api/manage/builds/?limit=200"
        while path:
            page = self._ask("GET", path)
            found += page["results"]
            path = (page["next"] or "").removeprefix(self._base)
        return found

    def wait_until_idle(self, seconds: float) -> None:
        """Wait until there are builds, and none of them is on its way. Raises `TimeoutError`."""
        deadline = monotonic() + seconds
        while any(self._has_any(state) for state in LIVE) or not self._has_any("published"):
            if monotonic() > deadline:
                raise TimeoutError(f"builds were still on their way after {seconds:.0f} s")
            time.sleep(0.5)

    def _has_any(self, state: str) -> bool:
        return bool(self._ask("GET", f"/api/manage/builds/?limit=1&state={state}")["results"])

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310  our own server's address
            self._base + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
                answer: dict[str, Any] = json.load(response)
                return answer
        except urllib.error.HTTPError as exc:
            raise RuntimeError(f"{method} {path}: {exc.code} {exc.read(500).decode(errors='replace')}") from exc


# -- The compile stage beside a bare relink, in a process of its own: it needs the settings of a build worker


def _ratio_beside(environment: dict[str, str], pairs: int) -> CompileRatio:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.load.builds", "--compile-ratio", str(pairs)],
        env={**os.environ, **environment, "DJANGO_SETTINGS_MODULE": "licensing.settings", "KEYWRIGHT_ROLE": "build"},
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        check=True,
    )
    return CompileRatio(**json.loads(ran.stdout.splitlines()[-1]))


def _time_compile_stages(pairs: int) -> CompileRatio:
    """Relink and compile stage in turns, on the workplace that this process's settings describe."""
    from build_farm.compile import WarmUp
    from build_farm.workplace import configured_workplace

    farm = configured_workplace()
    scratch = farm.scratch()
    try:
        tree = _lay_out(farm, scratch)
        with farm.pool.take() as slot:
            warm_up = WarmUp(cache=farm.cache, kit=farm.kit, toolchain=farm.toolchain, slot=slot, settings=farm.sandbox)
            warm_up.warm_base(TARGET, workplace=scratch)
            warm_up.warm_release(tree, TARGET)
        relink = _Relink(farm, tree, scratch)
        bare, ours = [], []
        for number in range(pairs + 1):  # the first fills the bare build's own cache
            constants = _constants(f"load_customer_{number:04}")
            bare.append(_timed(lambda made=constants: relink.run(made)))
            ours.append(_timed(lambda made=constants: _compile(farm, tree, scratch, made)))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return CompileRatio(bare_seconds=statistics.median(bare[1:]), stage_seconds=statistics.median(ours[1:]))


def _lay_out(farm: Workplace, scratch: Path) -> SourceTree:
    from build_farm.compile import lay_out_source
    from build_farm.sources import open_release_source

    shutil.copytree(_DEMO, scratch / "source")
    return lay_out_source(open_release_source(scratch / "source"), farm.kit)


class _Relink:
    """`go build` as a developer would run it, with the flags of the farm and a warm cache of its own."""

    def __init__(self, farm: Workplace, tree: SourceTree, scratch: Path) -> None:
        from build_farm.compile.go_command import go_environment

        self._tree = scratch / "bare"
        shutil.copytree(tree.root, self._tree)
        self._package = tree.package
        self._command = [
            f"{farm.toolchain.root}/bin/go",
            "build",
            "-o",
            str(scratch / "bare-binary"),
            f"./{tree.package}",
        ]
        self._environment = dict(go_environment(TARGET)) | {
            "GOROOT": str(farm.toolchain.root),
            "GOCACHE": str(scratch / "bare-cache"),
            "GOTMPDIR": str(scratch),
            "PATH": f"{farm.toolchain.root}/bin",
        }

    def run(self, constants: EmbeddedConstants) -> None:
        """Change the main package and build."""
        from build_farm.compile import generate_customer_auth

        (self._tree / self._package / "customer_auth.go").write_text(generate_customer_auth(constants))
        subprocess.run(self._command, cwd=self._tree, env=self._environment, check=True)


def _compile(farm: Workplace, tree: SourceTree, scratch: Path, constants: EmbeddedConstants) -> None:
    from build_farm.compile import CompileRequest, compile_plugin

    destination = scratch / "binary"
    destination.unlink(missing_ok=True)
    with farm.pool.take() as slot:
        compile_plugin(
            CompileRequest(
                tree=tree,
                toolchain=farm.toolchain,
                constants=constants,
                slot=slot,
                cache=farm.cache,
                kit_digest=farm.kit.digest,
                destination=destination,
                settings=farm.sandbox,
            )
        )


def _constants(customer: str) -> EmbeddedConstants:
    from build_farm.compile import EmbeddedConstants

    return EmbeddedConstants(
        customer_id=customer,
        customer_name=customer,
        api_key_hash="sha256:" + "ab" * 32,
        secret_key="encrypted:bm90IGEgc2VjcmV0",
        target_tier="Pro",
        authorized_features=("console_logging", "api_logging"),
        build_timestamp="1704967200",
        build_host="keywright-build-farm",
        build_version="1.0.0",
        build_id=f"bld_{customer}",
        plugin_name=PLUGIN,
        plugin_version=VERSION,
        target=TARGET,
        authority_public_key="AAAA",
        issuer="https://licensing.example.com",
        server_url="https://licensing.example.com",
    )


def _timed(work: Any) -> float:
    begun = monotonic()
    work()
    return monotonic() - begun


def main() -> int:
    """Measure and say what came of it; with `--compile-ratio N` only that, as JSON."""
    if sys.argv[1:2] == ["--compile-ratio"]:
        import django

        django.setup()
        print(json.dumps(asdict(_time_compile_stages(int(sys.argv[2])))))  # noqa: T201
        return 0
    measured = measure(builds=int(sys.argv[1])) if sys.argv[1:] else measure()
    print_report(measured)
    return 1 if measured.misses else 0


if __name__ == "__main__":
    sys.exit(main())
