"""A large file takes no more memory than a small one, in either direction."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from registry.storage import ArtifactStore
from tests.registry import cast

SOURCE_ROOT = Path(__file__).resolve().parents[3]
MIB = 1024 * 1024
# What speaks S3 here keeps in memory what it is given.
SIZES = {"folder": 1024 * MIB, "s3": 160 * MIB}

# In a process of its own: the peak of this one tells of every test before.
_ROUND_TRIP = """
import resource, sys
import django
django.setup()
from registry.api.byte_ranges import Span
from registry.api.sending import Body, Plan
from registry.storage import artifact_store

def round_trip(size):
    store, piece, ended = artifact_store(), bytes(262144), []
    stored = store.put_stream((piece for _ in range(size // len(piece))), max_bytes=size)
    file = store.open(stored)
    body = Body(file, Plan([Span(0, size)], size, "x/y"), ended=lambda *how: ended.append(how), damaged=print)
    sent = sum(len(part) for part in body)
    body.close()
    assert sent == size and ended == [(size, "COMPLETE")], (sent, ended)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

print(-round_trip(262144) + round_trip(int(sys.argv[1])))
"""


def test_a_large_file_passes_in_constant_memory(
    store: ArtifactStore, settings: Any, request: pytest.FixtureRequest
) -> None:
    size = SIZES[request.node.callspec.params["store"]]
    ran = subprocess.run(
        [sys.executable, "-c", _ROUND_TRIP, str(size)],
        cwd=SOURCE_ROOT,
        env={**os.environ, **cast.store_environment(settings)},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) < 64 * MIB
