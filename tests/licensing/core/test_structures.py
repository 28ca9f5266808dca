"""Structures may be used for the first time by several threads at once."""

from __future__ import annotations

import subprocess
import sys

# Each structure is new when four threads come to it, and threads take turns as often as they can.
PROGRAM = """
import sys, threading
import msgspec
from licensing.core.structures import ready

sys.setswitchinterval(1e-6)
value = {"name": "a", "labels": {"b": "c"}, "inner": {"text": "d"}}
for number in range(300):
    inner = msgspec.defstruct(f"Inner{number}", [("text", str), ("other", "str | None", None)])
    outer = msgspec.defstruct(
        f"Outer{number}",
        [("name", "str"), ("labels", "dict[str, str]"), ("inner", inner), ("nonce", "str | None", None)],
    )
    together, read = threading.Barrier(4), []

    def convert():
        together.wait()
        read.append(msgspec.convert(value, ready(outer)))

    threads = [threading.Thread(target=convert) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.inner.text for each in read] == ["d"] * 4
print("all were read")
"""


def test_a_structure_is_read_whole_by_threads_that_come_to_it_at_once() -> None:
    """In a process of its own: what is guarded against ends the process."""
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "all were read\n"), ended.stderr
