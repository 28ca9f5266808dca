"""The compose file and what it names, without an engine: every process has what its role needs, and reaches no more."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.urls import resolve

from licensing.core.role_secrets import ROLES
from tests.deployment import findings
from tests.docker.commands import check_command, queues_in_use
from tests.docker.dockerfile import read_stages

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
STAGES = read_stages(DOCKER / "Dockerfile")
CADDYFILE = (DOCKER / "Caddyfile").read_text(encoding="utf-8")
OURS = {name for name, service in SERVICES.items() if service["image"] in ("keywright-web", "keywright-worker")}
BUILD_CAPABILITIES = {"CHOWN", "DAC_OVERRIDE", "KILL", "SETGID", "SETUID"}


def role(name: str) -> str:
    found: str = SERVICES[name]["environment"]["KEYWRIGHT_ROLE"]
    return found


def networks(name: str) -> set[str]:
    return set(SERVICES[name]["networks"])


def stage_of(name: str) -> Any:
    return STAGES[SERVICES[name]["build"]["target"]]


def command_of(name: str) -> list[str]:
    command = SERVICES[name].get("command", stage_of(name).command)
    return shlex.split(command) if isinstance(command, str) else list(command)


def interpolated(value: str) -> str:
    """A value as compose would pass it on, with KEYWRIGHT_HOST set and nothing else."""
    value = re.sub(r"\$\{KEYWRIGHT_HOST:\?[^}]*\}", "licenses.example.com", value)
    return re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", value)


# -- what it is made of


def test_the_deployment_has_every_process_of_the_design() -> None:
    assert {"proxy", "web-1", "web-2", "files", "worker-control", "worker-build", "worker-sign", "beat"} <= set(
        SERVICES
    )
    assert {"postgres", "valkey", "migrate", "bootstrap"} <= set(SERVICES)
    assert {role(name) for name in OURS} == set(ROLES)
    assert SERVICES["postgres"]["image"] == "postgres:18"
    assert SERVICES["valkey"]["image"] == "valkey/valkey:9"


def test_build_targets_and_dockerfile_exist() -> None:
    for service in SERVICES.values():
        if "build" in service:
            context = (DOCKER / service["build"]["context"]).resolve()
            assert context == ROOT
            assert (context / service["build"]["dockerfile"]).is_file()
            assert service["image"] == f"keywright-{service['build']['target']}"
            assert service["build"]["target"] in STAGES


@pytest.mark.parametrize("name", sorted(OURS))
def test_commands_exist_and_take_their_arguments(name: str) -> None:
    check_command(command_of(name))


def test_each_worker_takes_the_queue_of_its_role_and_every_queue_has_a_worker() -> None:
    taken = {}
    for name in OURS:
        words = command_of(name)
        if "worker" in words:
            taken[words[words.index("-Q") + 1]] = role(name)
    assert taken == {"control": "control", "build": "build", "sign": "sign"}
    assert queues_in_use() <= set(taken)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_what_a_service_waits_for_exists_and_can_come(name: str) -> None:
    for awaited, how in SERVICES[name].get("depends_on", {}).items():
        service = SERVICES[awaited]
        if how["condition"] == "service_healthy":
            assert "test" in service["healthcheck"]
        else:
            assert how["condition"] == "service_completed_successfully"
            assert service["restart"] == "no"


def test_migrations_come_before_keys_and_keys_before_web() -> None:
    assert "migrate" in SERVICES["bootstrap"]["depends_on"]
    assert {"bootstrap", "check"} <= set(SERVICES["web-1"]["depends_on"])
    script = command_of("migrate")[-1]
    assert script.index("migrate") < script.index("grant_roles")


# -- rights


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "privileged" not in service
    if name == "worker-build":
        return
    assert service.get("cap_add", []) == []
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert int(service["user"].partition(":")[0]) > 0


def test_the_build_worker_has_what_slots_need_and_holds_no_key() -> None:
    service = SERVICES["worker-build"]
    assert set(service["cap_add"]) == BUILD_CAPABILITIES
    assert service["secrets"] == ["valkey_url", "database_web_url"]
    assert networks("worker-build") == {"build"}


@pytest.mark.parametrize("name", ["worker-sign", "bootstrap"])
def test_sign_reaches_the_database_and_the_broker_and_nothing_else(name: str) -> None:
    assert networks(name) == {"sign"}
    assert COMPOSE["networks"]["sign"] == {"internal": True}
    assert {other for other in SERVICES if "sign" in networks(other)} == {
        "worker-sign",
        "bootstrap",
        "postgres",
        "valkey",
    }
    assert "ports" not in SERVICES[name]


def test_only_the_proxy_is_reached_from_outside_and_only_control_reaches_out() -> None:
    assert {name for name in SERVICES if "ports" in SERVICES[name]} == {"proxy"}
    open_networks = {name for name, network in COMPOSE["networks"].items() if not network.get("internal")}
    assert {name for name in SERVICES if networks(name) & open_networks} == {"proxy", "worker-control"}
    assert set().union(*map(networks, SERVICES)) == set(COMPOSE["networks"])


# -- settings and secrets


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deployment") / "secrets"
    subprocess.run([sys.executable, str(DOCKER / "make_secrets.py"), str(folder)], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_variable_is_a_setting(name: str) -> None:
    given = SERVICES[name]["environment"]
    assert {variable.removesuffix("_FILE") for variable in given} <= set(settings.DECLARED_SETTINGS)
    assert all(isinstance(value, str) for value in given.values())


@pytest.mark.parametrize("name", sorted(OURS))
def test_check_deploy_has_nothing_to_say_of_any_process(
    name: str, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {
        variable: interpolated(value).replace("/run/secrets/", f"{secrets}/")
        for variable, value in SERVICES[name]["environment"].items()
    }
    assert findings(environment, monkeypatch) == []


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_is_given_the_secrets_that_it_reads_and_no_others(name: str) -> None:
    service = SERVICES[name]
    text = " ".join([*service.get("environment", {}).values(), *map(str, service.get("command", []))])
    if name == "postgres":
        text += (DOCKER / "postgres-init.sh").read_text(encoding="utf-8").replace("escaped ", "/run/secrets/")
    read = set(re.findall(r"/run/secrets/([a-z_]+)", text))
    assert set(service.get("secrets", [])) == read


def test_every_secret_is_a_file_that_make_secrets_makes(secrets: Path) -> None:
    made = {path.name for path in secrets.iterdir()}
    declared = COMPOSE["secrets"]
    assert {name: entry["file"] for name, entry in declared.items()} == {name: f"./secrets/{name}" for name in declared}
    assert made - set(declared) == {"valkey_password"}  # it is in the address and in Valkey's own configuration
    used = {secret for service in SERVICES.values() for secret in service.get("secrets", [])}
    assert used == set(declared)


def test_the_addresses_in_the_secrets_lead_to_services(secrets: Path) -> None:
    for name in ("owner", "web", "sign"):
        url = (secrets / f"database_{name}_url").read_text()
        password = (secrets / f"database_{name}_password").read_text().strip()
        assert url.strip() == f"postgresql://keywright_{name}:{password}@postgres:5432/keywright"
    configuration = (secrets / "valkey_conf").read_text()
    assert f"requirepass {(secrets / 'valkey_password').read_text().strip()}" in configuration
    assert "port 6379" in configuration
    assert "@valkey:6379/0" in (secrets / "valkey_url").read_text()


# -- volumes, ports, users


def test_volumes_and_mounted_files_exist() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DOCKER / source).is_file()
            else:
                assert source in COMPOSE["volumes"]
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert set(COMPOSE["volumes"]) <= used


def test_artifacts_are_where_the_settings_say_and_belong_to_the_user() -> None:
    made = " ".join(STAGES["web"].all("RUN"))
    for name in OURS:
        folder = SERVICES[name]["environment"]["ARTIFACT_DIR"]
        assert f"install -d -o 10001 -g 10001 -m 0750 {folder}" in made
        for volume in SERVICES[name].get("volumes", []):
            assert volume.split(":")[1] == folder
    assert SERVICES["files"]["volumes"] == ["artifacts:/var/lib/keywright/artifacts:ro"]


def test_ours_run_as_the_images_user() -> None:
    for name in OURS - {"worker-build"}:
        assert SERVICES[name]["user"] == stage_of(name).user
    assert SERVICES["proxy"]["user"] == STAGES["proxy"].user


def test_the_host_sees_https_and_http_of_the_proxy() -> None:
    inside = {name: re.search(rf"{name} (\d+)", CADDYFILE) for name in ("http_port", "https_port")}
    ports = {port.split(":")[0]: port.split(":")[1].partition("/")[0] for port in SERVICES["proxy"]["ports"]}
    assert inside["http_port"] is not None
    assert inside["https_port"] is not None
    assert ports == {"80": inside["http_port"].group(1), "443": inside["https_port"].group(1)}
    assert set(STAGES["proxy"].all("EXPOSE")[-1].split()) == set(ports.values())


def test_only_the_proxys_own_address_is_trusted() -> None:
    address = SERVICES["proxy"]["networks"]["edge"]["ipv4_address"]
    assert {SERVICES[name]["environment"]["TRUSTED_PROXIES"] for name in OURS} == {f"{address}/32"}
    (range_,) = COMPOSE["networks"]["edge"]["ipam"]["config"]
    assert address.rpartition(".")[0] == range_["subnet"].rpartition(".")[0]


# -- health


@pytest.mark.parametrize("name", ["web-1", "web-2", "files"])
def test_http_health_asks_a_path_that_exists_by_a_program_that_is_there(name: str) -> None:
    kind, python, program, port, path = SERVICES[name]["healthcheck"]["test"]
    assert (kind, python) == ("CMD", "python")
    assert f"docker/healthcheck.py {program}" in STAGES["web"].all("COPY")
    words = command_of(name)
    assert port == words[words.index("--port") + 1]
    assert resolve(path).url_name == "livez"


@pytest.mark.parametrize("name", ["worker-control", "worker-build", "worker-sign"])
def test_worker_health_asks_the_worker_by_its_own_name(name: str) -> None:
    (_, line) = SERVICES[name]["healthcheck"]["test"]
    check_command(shlex.split(line))
    words = command_of(name)
    node = words[words.index("-n") + 1]
    assert line.split()[line.split().index("-d") + 1] == node.replace("%h", "$$HOSTNAME")


def test_beats_health_looks_at_the_file_that_beat_writes() -> None:
    words = command_of("beat")
    schedule = Path(words[words.index("-s") + 1])
    line = SERVICES["beat"]["healthcheck"]["test"][1]
    assert f"find {schedule.parent} -name '{schedule.name}*'" in line
    assert any(mount.startswith(f"{schedule.parent}:") for mount in SERVICES["beat"]["tmpfs"])


# -- the proxy


def test_the_proxys_upstreams_are_services_on_its_network() -> None:
    upstreams = set(re.findall(r"\b([a-z][a-z0-9-]*):(\d+)\b", CADDYFILE))
    assert {name for name, _ in upstreams} == {"web-1", "web-2", "files"}
    for name, port in upstreams:
        words = command_of(name)
        assert port == words[words.index("--port") + 1]
        assert "edge" in networks(name) & networks("proxy")


def test_the_caddyfile_is_whole_and_names_variables_it_is_given() -> None:
    plain = re.sub(r"#.*|\{\$[A-Z_]+\}", "", CADDYFILE)
    assert plain.count("{") == plain.count("}") > 0
    assert set(re.findall(r"\{\$([A-Z_]+)\}", CADDYFILE)) == set(SERVICES["proxy"]["environment"])


def test_the_proxys_health_path_exists() -> None:
    match = re.search(r"health_uri (\S+)", CADDYFILE)
    assert match is not None
    assert resolve(match.group(1)).url_name == "readyz"


def test_the_caddyfile_is_where_caddy_looks_for_it() -> None:
    assert "docker/Caddyfile /etc/caddy/Caddyfile" in STAGES["proxy"].all("COPY")


# -- the database


def init_script() -> str:
    return (DOCKER / "postgres-init.sh").read_text(encoding="utf-8")


def test_the_init_script_makes_the_three_roles_by_their_names() -> None:
    roles = re.findall(r"CREATE ROLE (\w+) +LOGIN", init_script())
    assert roles == ["keywright_owner", settings.DATABASE_WEB_ROLE, settings.DATABASE_SIGN_ROLE]
    assert "SUPERUSER" not in init_script()
    assert "CREATE DATABASE keywright OWNER keywright_owner" in init_script()


def test_the_init_script_sends_passwords_on_standard_input_alone(tmp_path: Path) -> None:
    passwords = {f"database_{name}_password": f"it's {name}" for name in ("owner", "web", "sign")}
    for name, password in passwords.items():
        (tmp_path / name).write_text(f"{password}\n")
    psql = tmp_path / "psql"
    psql.write_text(f'#!/bin/bash\nprintf "%s\\n" "$@" > {tmp_path}/argv\nenv > {tmp_path}/env\ncat > {tmp_path}/sql\n')
    psql.chmod(0o755)
    script = init_script().replace("/run/secrets/", f"{tmp_path}/")
    subprocess.run(["bash", "-c", script], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=True)
    sql = (tmp_path / "sql").read_text()
    for name in ("owner", "web", "sign"):
        assert re.search(rf"CREATE ROLE keywright_{name} +LOGIN PASSWORD 'it''s {name}';", sql)
        assert f"it's {name}" not in (tmp_path / "argv").read_text() + (tmp_path / "env").read_text()


def test_the_init_script_is_run_by_the_image_as_a_program() -> None:
    mounted = [volume for volume in SERVICES["postgres"]["volumes"] if "postgres-init.sh" in volume]
    assert mounted == ["./postgres-init.sh:/docker-entrypoint-initdb.d/keywright.sh:ro"]
    assert (DOCKER / "postgres-init.sh").stat().st_mode & 0o111


def test_operations_shows_the_same_roles() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    for line in re.findall(r"^(?:REVOKE|GRANT|CREATE DATABASE) .*;$", init_script(), re.MULTILINE):
        assert line in page
