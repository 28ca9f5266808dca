"""Embedded services in processes of their own, all gone after the test."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.licensing.embedded.processes import Holder


@pytest.fixture
def hold() -> Iterator[Callable[..., Holder]]:
    """Start holders; all are gone after the test."""
    holders: list[Holder] = []

    def start(data_dir: Path, **options: Any) -> Holder:
        holders.append(Holder(data_dir, **options))
        return holders[-1]

    yield start
    for holder in holders:
        holder.close()


@pytest.fixture
def home_of() -> Iterator[Callable[[int], Path]]:
    """A folder that belongs to a user and that this user can reach: pytest's own are closed to others."""
    homes: list[Path] = []

    def make(uid: int) -> Path:
        homes.append(Path(tempfile.mkdtemp(prefix="keywright-home-")))
        homes[-1].chmod(0o755)
        os.chown(homes[-1], uid, uid)
        return homes[-1]

    yield make
    for home in homes:
        shutil.rmtree(home)
