"""Embedded services in processes of their own, all gone after the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.licensing.embedded.processes import Holder, homes


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
    """A folder that belongs to a user and that this user can reach."""
    with homes() as make:
        yield make
