"""What the proxy must keep from web processes, which have few threads and no time limit on reading a body."""

import re
from pathlib import Path

from django.conf import settings

from licensing.core.json_body import MAX_BODY_BYTES

DOCKER = Path(__file__).resolve().parents[2] / "docker"
CADDYFILE = (DOCKER / "Caddyfile").read_text(encoding="utf-8")


def block_after(start: str) -> str:
    """The text between the braces that `start` opens."""
    begin = CADDYFILE.index(start) + len(start)
    depth = 1
    for place, character in enumerate(CADDYFILE[begin:], begin):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return CADDYFILE[begin:place]
    raise AssertionError("the block does not end")


def test_web_processes_are_handed_whole_bodies_of_whatever_a_stranger_may_send() -> None:
    web = block_after("reverse_proxy web-1:8000 web-2:8000 {")

    match = re.search(r"^\s*request_buffers (\d+)MiB$", web, re.MULTILINE)

    assert match is not None
    buffered_bytes = int(match[1]) * 1024**2
    assert buffered_bytes > settings.DATA_UPLOAD_MAX_MEMORY_SIZE  # what a form may hold
    assert buffered_bytes > MAX_BODY_BYTES


def test_no_header_can_pose_as_another() -> None:
    site = block_after("{$KEYWRIGHT_HOST} {")

    assert re.search(r"^\s*request_header -\*_\*$", site, re.MULTILINE)
