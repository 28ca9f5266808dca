"""schemathesis over `/api/schema` against a real web process: no server error, and no answer that is not documented.

One run for each kind of caller, each over the operations that its credential is for. The time is bounded: what a
minute cannot find is left to longer runs (`SCHEMATHESIS_SECONDS`).
"""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECONDS = int(os.environ.get("SCHEMATHESIS_SECONDS", "18"))
CHECKS = frozenset(
    {
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
        "ignored_auth",
        "use_after_free",
        "unsupported_method",
    }
)
NO_CHECKS = (
    "response_headers_conformance",
    "negative_data_rejection",
    "positive_data_acceptance",
    "missing_required_header",
    "allow_header_conformance",
    "ensure_resource_availability",
    "object_level_authorization",
)
PHASES = ("examples,coverage,fuzzing", "stateful")
# Rotation is answered by the `sign` worker, and by a documented 503 where there is none, as here.
EXCLUDED = "^(/files/|/api/manage/signing-keys/rotate)"
RUNS = [("operator", PHASES[0]), ("operator", PHASES[1]), ("customer", PHASES[0]), ("anybody", PHASES[0])]
PATHS = {
    "operator": "^/api/(manage/|plugins/quarantine/)",
    "customer": "^/api/(account|builds|registry)",
    "anybody": "^/(livez|readyz|\\.well-known|api/(schema|docs|plugins/(?!quarantine)))",
}

# Every verdict of validate is a 200, the one on a token that is none of ours included (docs/api.md).
VALIDATE = """
[[operations]]
include-name = "POST /api/plugins/validate"
checks.ignored_auth.enabled = false
"""


@pytest.fixture
def credentials(transactional_db: None) -> dict[str, str]:
    """A catalogue, a customer with a subscription, an operator, and keys of both."""
    from licensing.core.actor import system
    from licensing.services.key_lifecycle import bootstrap
    from tests import cast

    bootstrap(actor=system("tests"), now=datetime.now(UTC))
    cast.catalogue()
    owner = cast.customer("acme_1")
    cast.subscribe(owner)
    _, operator = cast.operator()
    return {"operator": operator.credential, "customer": cast.key_of(owner).credential, "anybody": ""}


@pytest.mark.slow
@pytest.mark.parametrize(("caller", "phases"), RUNS)
def test_the_server_does_what_the_schema_says(
    caller: str, phases: str, credentials: dict[str, str], tmp_path: Path
) -> None:
    from tests.licensing.api.web_server import web_server

    config = tmp_path / "schemathesis.toml"
    # The key is read from the environment: a command line is for everybody to read.
    headers = '[headers]\nAuthorization = "Bearer ${CREDENTIAL}"\n' if credentials[caller] else ""
    checks = "[checks]\n" + "".join(
        f"{name}.enabled = {str(name in CHECKS).lower()}\n" for name in (*sorted(CHECKS), *NO_CHECKS)
    )
    config.write_text(headers + checks + VALIDATE)
    with web_server(tmp_path / "web.log") as server:
        arguments = ["--config-file", str(config), "run", f"http://127.0.0.1:{server.port}/api/schema"]
        arguments += ["--url", f"http://127.0.0.1:{server.port}", "--include-path-regex", PATHS[caller]]
        arguments += ["--mode", "all", "--max-time", str(SECONDS)]
        arguments += ["--seed", "20260601", "--suppress-health-check", "all", "--warnings", "off"]
        arguments += [
            "--exclude-path-regex",
            EXCLUDED,
            "--phases",
            phases,
            "--no-color",
            "--generation-database",
            "none",
        ]
        run = subprocess.run(
            [sys.executable, "-m", "schemathesis.cli", *arguments],
            cwd=tmp_path,
            env=os.environ | {"CREDENTIAL": credentials[caller], "PYTHONWARNINGS": ""},
            capture_output=True,
            text=True,
            timeout=SECONDS * 4 + 60,
        )
    assert run.returncode == 0, f"{run.stdout[-12000:]}\n{run.stderr[-2000:]}"
