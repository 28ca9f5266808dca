"""Lines to copy that set a client up for a customer's registry. They hold no secret: they read it from a variable."""

import json
from typing import Final

from django.conf import settings

from registry.models import CustomerPolicy

VARIABLE: Final = "KEYWRIGHT_REGISTRY_TOKEN"


def export_line(token: str) -> str:
    """The line that puts a token where the others find it."""
    return f"export {VARIABLE}='{token}'"


def list_command(customer_id: str) -> str:
    """What can be installed, as JSON."""
    return f'curl -fsS {settings.PUBLIC_URL}/private/{customer_id}/ -H "Authorization: Bearer ${VARIABLE}"'


def download_commands(plugin: str = "PLUGIN", version: str = "VERSION") -> str:
    """Ask for a URL, then fetch the file; unless they are given, the reader puts the plugin and version in.

    The answer also has the file's SHA-256, signature and certificate.
    """
    release = f"{settings.PUBLIC_URL}/api/registry/plugins/{plugin}/releases/{version}"
    return "\n".join(
        (
            f"curl -fsS {release}/download \\",
            f'  -H "Authorization: Bearer ${VARIABLE}" -H "Content-Type: application/json" \\',
            """  -d '{"os": "linux", "arch": "amd64"}' > answer.json""",
            """curl -fsS -OJ "$(sed -n 's/.*"url":"\\([^"]*\\)".*/\\1/p' answer.json)" """.rstrip(),
        )
    )


def host_configuration(policy: CustomerPolicy) -> str:
    """The policy as a host's own km-config.yaml; JSON's strings are YAML's."""
    sources = list(policy.allowed_sources) or [settings.PUBLIC_URL]
    lines = (
        "security:",
        f"  plugin_verification: {policy.plugin_verification}",
        f"  allow_unsigned: {json.dumps(policy.allow_unsigned)}",
        "plugins:",
        f"  auto_update: {json.dumps(policy.auto_update)}",
        f"  allowed_sources: {json.dumps(sources)}",
        f"  blocked_plugins: {json.dumps(list(policy.blocked_plugins))}",
    )
    return "\n".join(lines)
