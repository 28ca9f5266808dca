"""A large file takes no more memory than a small one, in either direction."""

import subprocess
import sys
from pathlib import Path

import pytest

SOURCE_ROOT = Path(__file__).resolve().parents[3]
MIB = 1024 * 1024

# In a process of its own: the peak of this one tells of every test before.
_ROUND_TRIP = """
import contextlib, resource, sys, tempfile
from pathlib import Path
import django
django.setup()
from registry.api.byte_ranges import Span
from registry.api.sending import Body, Plan
from registry.storage.folder import FolderStore

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

size, piece = int(sys.argv[1]), bytes(262144)
with tempfile.TemporaryDirectory(dir=sys.argv[2]) as folder:
    store = FolderStore(Path(folder))
    before = peak()
    stored = store.put_stream((piece for _ in range(size // len(piece))), max_bytes=size)
    file = store.open(stored)
    ended = []
    body = Body(file, Plan([Span(0, size)], size, "x/y"), ended=lambda *how: ended.append(how), damaged=print)
    sent = sum(len(part) for part in body)
    body.close()
    assert sent == size and ended == [(size, "COMPLETE")], (sent, ended)
    print(peak() - before)
"""


@pytest.mark.parametrize("size", [200 * MIB, pytest.param(1024 * MIB, marks=pytest.mark.slow)], ids=["200M", "1G"])
def test_a_file_passes_in_constant_memory(tmp_path: Path, size: int) -> None:
    command = [sys.executable, "-c", _ROUND_TRIP, str(size), str(tmp_path)]
    ran = subprocess.run(command, cwd=SOURCE_ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) < 64 * MIB
