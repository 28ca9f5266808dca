"""The Go toolchain that the sandbox is given: a folder (GOROOT) and the version it states."""

import shutil
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from build_farm.sandbox import SandboxUnavailable


@dataclass(frozen=True)
class GoToolchain:
    """`root` is GOROOT on the host; `version` is its VERSION file's first line, such as `go1.27.3`."""

    root: Path
    version: str


def find_toolchain(injected: Path | None = None) -> GoToolchain:
    """The toolchain given, the wheel's, or the system's.

    Raises:
        SandboxUnavailable: there is none, or it is incomplete.
    """
    candidates = [injected] if injected else [_in_wheel(), _on_path()]
    for root in candidates:
        if root and (root / "bin" / "go").is_file() and (root / "VERSION").is_file():
            return GoToolchain(root=root.resolve(), version=(root / "VERSION").read_text().split("\n")[0].strip())
    raise SandboxUnavailable(f"no Go toolchain{f' at {injected}' if injected else ''}")


def _in_wheel() -> Path | None:
    found = find_spec("go")
    if found is None or not found.submodule_search_locations:
        return None
    return Path(found.submodule_search_locations[0])


def _on_path() -> Path | None:
    go = shutil.which("go")
    if go is None:
        return None
    answer = subprocess.run([go, "env", "GOROOT"], capture_output=True, text=True, check=False)  # noqa: S603
    return Path(answer.stdout.strip()) if answer.returncode == 0 and answer.stdout.strip() else None
