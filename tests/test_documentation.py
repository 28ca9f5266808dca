"""The documentation agrees with the code: settings, dependencies, links, and the commands it tells people to type."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import get_commands, load_command_class

from licensing.core.role_secrets import ROLES, required_secrets
from licensing.management.commands.describe_settings import BEGIN, END, default_declarations, settings_table

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def rows(text: str) -> list[list[str]]:
    """The cells of every table row, but for headings and their rules."""
    lines = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


# -- configuration.md


def test_every_setting_is_documented_as_it_is_declared() -> None:
    text = read("docs/configuration.md")
    table = text.partition(BEGIN)[2].partition(END)[0].strip()
    assert table == settings_table().strip(), (
        "run: .venv/bin/python manage.py describe_settings --write docs/configuration.md"
    )


def test_the_declared_settings_are_those_of_this_process() -> None:
    # One declared only under some condition would be missing from the page.
    assert set(default_declarations()) == set(settings.DECLARED_SETTINGS)


def test_the_table_of_roles_names_the_secrets_that_the_code_insists_on() -> None:
    text = read("docs/configuration.md")
    section = text.partition("## Which process needs what")[2].partition("\n## ")[0]
    documented = {
        row[0].strip("`"): set(re.findall(r"`([A-Z_]+)`", row[2].partition(";")[0])) for row in rows(section)[1:]
    }
    assert documented == {role: set(required_secrets(role)) for role in ROLES}


def test_no_document_names_a_setting_that_does_not_exist() -> None:
    known = set(settings.DECLARED_SETTINGS)
    outside = {"KEYWRIGHT_HOST", "DATABASE_OWNER_URL", "DATABASE_SIGN_URL"}  # compose's, and the quickstart's own
    prefixes = ("KEYWRIGHT_", "KEK_", "DATABASE_", "VALKEY_", "ARTIFACT_", "SNAPSHOT_", "DJANGO_", "API_KEY_")
    for name in set(NAMES) - {"docs/gokit.md"}:  # whose settings are the plugin's
        mentioned = {word.removesuffix("_FILE") for word in re.findall(r"`([A-Z][A-Z_]+[A-Z])`", read(name))}
        unknown = {word for word in mentioned if word.startswith(prefixes) and not word.endswith("_")}
        assert unknown - known - outside - error_codes() == set(), name


def error_codes() -> set[str]:
    """Public codes, which are written in the same way."""
    from licensing.core import errors
    from licensing.rules import codes

    found = {value for value in vars(codes).values() if isinstance(value, str) and value.isupper()}
    return found | {entry.code for entry in vars(errors).values() if isinstance(entry, type) and hasattr(entry, "code")}


# -- dependencies.md


def test_every_dependency_has_its_line_and_no_line_is_left_over() -> None:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    listed = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    declared = {re.split(r"[\[<>=!~; ]", line, maxsplit=1)[0].lower() for line in listed} - {project["name"]}
    table = [row for row in rows(read("docs/dependencies.md")) if row[0].startswith("`")]
    assert {row[0].strip("`") for row in table} == declared
    assert len(table) == len(declared)
    assert all(len(row) == 4 and all(row) for row in table)


# -- links


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", NAMES)
def test_relative_links_lead_somewhere(name: str) -> None:
    path = ROOT / name
    text = re.sub(r"^(```|    ).*?(?:^```$|$)", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, fragment = target.partition("#")
        linked = (path.parent / file).resolve() if file else path
        assert linked.exists(), f"{name} links to {target}"
        if fragment and linked.suffix == ".md":
            assert fragment in anchors(linked), f"{name} links to {target}"


def test_readme_leads_to_every_page_of_the_documentation() -> None:
    linked = {target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", read("README.md"))}
    pages = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}
    assert pages <= linked


# -- what people are told to type


def shell_text(name: str) -> str:
    """The shell of a document: fenced blocks marked `sh`, and indented lines."""
    text = read(name)
    fenced = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^ {4,}(?:sudo |KEYWRIGHT_HOST=|docker |python |make ).*$", text, re.MULTILINE)
    return "\n".join([*fenced, *(line.strip() for line in indented)])


@pytest.mark.parametrize("name", NAMES)
def test_fenced_shell_is_valid(name: str) -> None:
    for block in re.findall(r"^```sh\n(.*?)^```$", read(name), re.MULTILINE | re.DOTALL):
        checked = subprocess.run(["bash", "-n"], input=block, text=True, capture_output=True, check=False)
        assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("name", NAMES)
def test_make_targets_exist(name: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE))
    typed = re.findall(r"^(?:\s{4})?make ([a-z]+)", shell_text(name), re.MULTILINE)
    spoken = re.findall(r"`make ([a-z]+)", read(name))
    assert set(typed + spoken) <= targets


@pytest.mark.parametrize("name", NAMES)
def test_management_commands_exist_and_take_the_arguments_shown(name: str) -> None:
    commands = get_commands()
    mentioned = re.findall(r"`(?:python )?manage\.py ([a-z_]+)", read(name))
    typed = re.findall(r"manage\.py ([a-z_]+)((?: [^&\n]*)?)", shell_text(name))
    assert {*mentioned, *(command for command, _ in typed)} <= set(commands)
    for command, arguments in typed:
        app = commands[command]
        assert isinstance(app, str)
        load_command_class(app, command).create_parser("manage.py", command).parse_args(shlex.split(arguments))


def test_readme_says_what_it_runs_on() -> None:
    requires = tomllib.loads(read("pyproject.toml"))["project"]["requires-python"]
    version = requires.removeprefix(">=")
    assert f"Python {version} or newer" in read("README.md")
    assert "Linux" in read("README.md")
    assert sys.version_info >= tuple(map(int, version.split(".")))


def test_ci_runs_what_the_readme_says() -> None:
    script = read(".ci/run")
    for command in ("make test", "make lint", "make types", "makemigrations --check --dry-run"):
        assert re.search(rf"^(?!#).*{re.escape(command)}", script, re.MULTILINE), command
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
    assert subprocess.run(["bash", "-n", ".ci/run"], cwd=ROOT, check=False).returncode == 0
