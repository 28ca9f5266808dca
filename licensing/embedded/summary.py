"""What the quickstart prints when it is done: where things are, and three lines to paste into a shell."""

from __future__ import annotations

import json
import shlex
from typing import Any

from licensing.embedded.instance import Instance

_CUSTOMER = "cust_123"
_PLUGIN, _VERSION = "api-logger", "2.1.0"
_READ_ANSWER = """python3 -c 'import json,sys; print(json.load(sys.stdin)["token"])'"""
_JSON = "-H 'Content-Type: application/json'"


def summary(instance: Instance, base_url: str, *, with_demo: bool) -> str:
    """The text, some lines; with the demo it shows `cust_123`'s API key."""
    root = instance.root
    lines = [
        "",
        f"Keywright answers at {base_url}. Ctrl-C stops it and keeps the data.",
        "",
        f"  data, logs      {root}, {root / 'logs'}",
        f"  other commands  set -a; . {shlex.quote(str(root / 'env'))}; set +a",
    ]
    if with_demo:
        document = root / "quickstart.json"
        lines += [
            f"  credentials     {document}",
            "",
            f"The demo's {_CUSTOMER} authenticates, validates and refreshes:",
            "",
            *curl_lines(json.loads(document.read_text(encoding="utf-8")), base_url),
        ]
    return "\n".join([*lines, ""])


def curl_lines(document: dict[str, Any], base_url: str) -> list[str]:
    """Three shell commands that do what a plugin does, with the values of `quickstart.json`."""
    customer = document["customers"][_CUSTOMER]
    asked = {
        "plugin_name": _PLUGIN,
        "plugin_version": _VERSION,
        "plugin_signature": customer["plugin_signature"],
        "customer_id": _CUSTOMER,
    }
    api = f"{base_url}/api/plugins"
    key_header = shlex.quote(f"Authorization: Bearer {customer['api_key']}")
    as_plugin = '-H "Authorization: Bearer $TOKEN"'
    body = f'-d "{{\\"plugin_name\\": \\"{_PLUGIN}\\", \\"plugin_token\\": \\"$TOKEN\\"}}"'
    return [
        f"TOKEN=$(curl -sS {api}/authenticate -H {key_header} {_JSON} -d {shlex.quote(json.dumps(asked))} "
        f"| {_READ_ANSWER})",
        f"curl -sS {api}/validate {as_plugin} {_JSON} {body}",
        f"curl -sS -X POST {api}/refresh {as_plugin}",
    ]
