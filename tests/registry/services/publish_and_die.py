"""A process that publishes a release and kills itself at one line of the registry's code: `publish_and_die.py LINE`.

LINE counts the lines of `registry/` that were executed; one beyond the last lets it finish, and prints `done`.
"""

import os
import signal
import sys
from types import FrameType
from typing import Any

import django

django.setup()

from django.conf import settings  # noqa: E402

from licensing.models import Plugin  # noqa: E402
from registry.models import Artifact  # noqa: E402
from registry.services.artifacts import add_artifact  # noqa: E402
from registry.services.releases import create_release, publish_release  # noqa: E402
from registry.storage import artifact_store  # noqa: E402
from tests.registry.cast import ACTOR, PUBLIC, now  # noqa: E402

_REGISTRY = os.sep + "registry" + os.sep
_left = int(sys.argv[1])


def _count(frame: FrameType, event: str, _argument: Any) -> Any:
    global _left
    if _REGISTRY not in frame.f_code.co_filename or "tests" in frame.f_code.co_filename:
        return None
    if event == "line":
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    return _count


def _publish() -> None:
    store = artifact_store()
    release = create_release(plugin=Plugin.objects.get(pk=PUBLIC), version="2.1.0", actor=ACTOR, now=now(), store=store)
    for target in ("linux/amd64", "darwin/arm64"):
        content = f"for {target} ".encode() * 30_000
        stored = store.put_stream((content[at : at + 65536] for at in range(0, len(content), 65536)), max_bytes=10**7)
        add_artifact(
            release=release,
            target=target,
            stored=stored,
            filename="plugin",
            kind=Artifact.Kind.PREBUILT,
            signature=b"s",
            certificate=b"c",
            actor=ACTOR,
            now=now(),
            store=store,
        )
    publish_release(release=release, actor=ACTOR, now=now(), expected=("linux/amd64", "darwin/arm64"))


if settings.DATABASES["default"]["NAME"] != sys.argv[2]:
    raise SystemExit("not the test's database")
sys.settrace(_count)
_publish()
sys.settrace(None)
sys.stdout.write(f"done {_left}\n")
