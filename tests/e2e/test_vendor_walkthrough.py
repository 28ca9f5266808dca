"""The vendor's walk-through does what it says when its lines are pasted into a shell."""

import json
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).resolve().parents[2] / "README.md"


@pytest.mark.django_db(transaction=True)
def test_the_lines_work_when_pasted(tmp_path: Path) -> None:
    from licensing.core.actor import system
    from licensing.services.key_lifecycle import bootstrap
    from tests import cast
    from tests.licensing.api.web_server import web_server

    bootstrap(actor=system("tests"), now=datetime.now(UTC))
    _, operator = cast.operator()
    section = DOCUMENT.read_text(encoding="utf-8").partition("## Be the vendor")[2].partition("\n## ")[0]
    shorthands, lines = re.findall(r"```sh\n(.*?)```", section, flags=re.DOTALL)
    shorthands = shorthands.removeprefix("OPERATOR_KEY=$(value operator api_key)\n")
    assert len(lines.splitlines()) == 10
    with web_server(tmp_path / "web.log") as server:
        script = f"BASE_URL=http://127.0.0.1:{server.port}\nread -r OPERATOR_KEY\n{shorthands}{lines}"
        run = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            input=f"{operator.credential}\n",
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert run.returncode == 0, run.stderr
    feature, tier, plugin, customer, subscription, first, explained, granted, second = (
        json.loads(line) for line in run.stdout.splitlines()
    )
    assert (feature["code"], tier["name"], plugin["name"]) == ("pdf_export", "Starter", "report-maker")
    assert (customer["id"], subscription["is_active"]) == ("acme_corp", True)
    assert (first["success"], first["authorized_features"]) == (True, [])
    assert explained["plugin"]["verdict"]["valid"] is True
    assert (explained["feature"]["is_granted"], explained["feature"]["decided_by"]) == (False, "nothing")
    assert "neither the tier" in explained["feature"]["explanation"]
    assert granted["kind"] == "override"
    assert (second["success"], second["authorized_features"]) == (True, ["pdf_export"])
