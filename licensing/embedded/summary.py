"""What the quickstart prints when it is done: where things are, and lines to paste into a shell."""

from __future__ import annotations

import json
import platform
import shlex
from pathlib import Path
from typing import Any

from licensing.embedded.instance import Instance

_CUSTOMER = "cust_123"
_PLUGIN, _VERSION = "api-logger", "2.1.0"
_READ_ANSWER = """python3 -c 'import json,sys; print(json.load(sys.stdin)["token"])'"""
_READ_URL = """python3 -c 'import json,sys; print(json.load(sys.stdin)["url"])' 2>/dev/null"""
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
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
            "",
            "Its own build of the demo plugin is being made in the background. Get it, verify it, run it",
            "(waits until it is there: a minute or two the first time; docs/verify-a-plugin.md has the rest):",
            "",
            *plugin_lines(json.loads(document.read_text(encoding="utf-8")), base_url),
            "",
            "In another shell, take its Pro feature away and give it back; the plugin says so at its next refresh:",
            "",
            *tier_lines(document, base_url),
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


def plugin_lines(document: dict[str, Any], base_url: str) -> list[str]:
    """Shell commands that fetch a customer's own build, verify it with `sha256sum` and `openssl` alone, and run it."""
    key = document["customers"][_CUSTOMER]["api_key"]
    target = json.dumps({"os": "linux", "arch": _ARCHITECTURES.get(platform.machine(), "amd64")})
    ask = (
        f"curl -sS {base_url}/api/registry/plugins/{_PLUGIN}/releases/{_VERSION}/download "
        f'-H "Authorization: Bearer $KM_API_KEY" {_JSON} -d {shlex.quote(target)}'
    )
    return [
        f"export KM_API_KEY={shlex.quote(key)} KEYWRIGHT_URL={base_url}",
        'cd "$(mktemp -d)"',
        f"until URL=$({ask} | {_READ_URL}); do sleep 3; done",
        f'curl -sSfo {_PLUGIN}.kmpkg "$URL" && tar -xzf {_PLUGIN}.kmpkg',
        f"curl -sSf {base_url}/.well-known/keywright-authority | openssl x509 -inform DER -out authority.pem",
        "openssl verify -CAfile authority.pem plugin.crt",
        "sha256sum -c plugin.sha256",
        "openssl x509 -in plugin.crt -noout -pubkey > signer.pem && "
        "openssl dgst -sha256 -verify signer.pem -signature plugin.sig plugin",
        """while sleep 1; do echo '{"jsonrpc":"2.0","id":1,"method":"tools/call"}'; done | ./plugin -refresh 5s""",
    ]


def tier_lines(document: Path, base_url: str) -> list[str]:
    """Shell commands of an operator's that change the customer's tier; the key is read from where it is kept."""
    read_key = 'import json,sys; print(json.load(open(sys.argv[1]))["operator"]["api_key"])'
    return [
        f"OPERATOR_KEY=$(python3 -c {shlex.quote(read_key)} {shlex.quote(str(document))})",
        f"tier() {{ curl -sS -X PATCH {base_url}/api/manage/customers/{_CUSTOMER}/subscription "
        f'-H "Authorization: Bearer $OPERATOR_KEY" {_JSON} -d "{{\\"tier\\": \\"$1\\"}}"; }}',
        "tier Free",
        "tier Pro",
    ]
