"""Where builds are made: in reach of the slots' users, and nobody else's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from build_farm import workplace


def test_a_folder_that_is_somebody_elses_or_a_link_is_refused(tmp_path: Path, settings: Any) -> None:
    target = tmp_path / "target"
    target.mkdir(mode=0o700)
    link = tmp_path / "link"
    link.symlink_to(target)
    settings.BUILD_DIR = str(link)
    with pytest.raises(PermissionError):
        workplace.configured_workplace()
    assert target.stat().st_mode & 0o777 == 0o700, "what a link points to was touched"
    target.chmod(0o777)
    settings.BUILD_DIR = str(target)
    with pytest.raises(PermissionError):
        workplace.configured_workplace()


def test_what_slots_cannot_reach_is_copied_once_and_opened(tmp_path: Path) -> None:
    hidden = tmp_path / "home"
    tool = hidden / "go" / "bin"
    tool.mkdir(parents=True)
    (tool / "go").write_text("#!/bin/sh\n")
    (tool / "go").chmod(0o700)
    hidden.chmod(0o700)
    (tmp_path / "builds").mkdir()
    copy = workplace._in_reach(hidden / "go", tmp_path / "builds" / "tools" / "go1")
    assert copy != hidden / "go"
    assert (copy / "bin" / "go").stat().st_mode & 0o005 == 0o005
    before = (copy / "bin" / "go").stat().st_ino
    assert workplace._in_reach(hidden / "go", copy) == copy
    assert (copy / "bin" / "go").stat().st_ino == before


def test_a_source_is_unpacked_once_with_the_kit_in_it(tmp_path: Path, settings: Any) -> None:
    import io

    from build_farm.source_archive import pack_folder
    from tests.build_farm.conftest import DEMO

    settings.BUILD_DIR, settings.BUILD_BASE_UID = str(tmp_path / "builds"), 70_000 + os.getpid() % 1000 * 20 + 18
    place = workplace.configured_workplace()
    packed = io.BytesIO()
    pack_folder(DEMO, packed)
    fetched = []

    def fetch(file: Any) -> None:
        fetched.append(1)
        file.write(packed.getvalue())

    first, second = place.source_tree("ab" * 32, fetch), place.source_tree("ab" * 32, fetch)
    assert first == second
    assert len(fetched) == 1
    assert (first.root / "vendor" / "keywright.dev" / "gokit" / "agent.go").is_file()
    (place.root / "jobs" / "left").mkdir(parents=True)
    place.tidy()
    assert not (place.root / "jobs").exists()
    assert place.source_tree("ab" * 32, fetch) == first
    assert len(fetched) == 1
