"""What `check --deploy` says of a machine that builds."""

from __future__ import annotations

import os
from typing import Any

import pytest

from build_farm.checks import check_build_machine


def ids() -> list[str | None]:
    return [found.id for found in check_build_machine()]


def test_other_roles_are_not_asked(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ROLE = "web"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert ids() == []


def test_an_ordinary_user_is_refused(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ROLE = "build"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert ids() == []
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert ids() == ["build_farm.E001"]


def test_missing_tools_are_refused(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ROLE, settings.BUILD_GO_ROOT = "build", "/nowhere"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert ids() == ["build_farm.E002"]
