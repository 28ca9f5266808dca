"""What `manage.py check --deploy` refuses of a machine that builds (DESIGN §8)."""

import os
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

from build_farm.sandbox import SandboxUnavailable
from build_farm.workplace import find_tools


@register(Tags.security, deploy=True)
def check_build_machine(**_kwargs: Any) -> list[CheckMessage]:
    """A build worker can give each build a user of its own, and has what it builds with."""
    if settings.ROLE != "build":
        return []
    found: list[CheckMessage] = []
    if os.geteuid() != 0:
        hint = "Start the build worker as root (in a container of its own); it gives that up before anything is built."
        found.append(
            Error(
                "Builds would run as the worker's own user, not as one of their own.", hint=hint, id="build_farm.E001"
            )
        )
    try:
        find_tools()
    except SandboxUnavailable as exc:
        hint = "Install bubblewrap and Go, or set BUILD_BUBBLEWRAP and BUILD_GO_ROOT."
        found.append(Error(f"This machine cannot build: {exc}.", hint=hint, id="build_farm.E002"))
    return found
