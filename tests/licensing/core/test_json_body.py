"""The short way through a request's body accepts nothing that the strict one would not, and reads it alike."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from licensing.core import json_body
from licensing.core.errors import BadRequest
from licensing.core.json_body import parse_object

_TEXTS = st.text(alphabet=st.sampled_from('ab"\\:,{}é \x00\x7f\ud800'), max_size=4)
_VALUES = st.one_of(
    _TEXTS, st.none(), st.booleans(), st.integers(-9, 9), st.dictionaries(_TEXTS, st.one_of(_TEXTS, st.none())),
    st.lists(_TEXTS, max_size=2),
)  # fmt: skip


def members(pairs: list[tuple[str, Any]], *, ascii_only: bool) -> str:
    """JSON whose members may appear twice, as none that a mapping was written to does."""
    parts = [f"{json.dumps(name)} : {json.dumps(value, ensure_ascii=ascii_only)}" for name, value in pairs]
    return "{" + ", ".join(parts) + "}"


def strictly(body: bytes, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any] | None:
    """What the strict way says; None for a refusal."""
    with monkeypatch.context() as patch:
        patch.setattr(json_body, "_parse_plain", lambda _body: None)
        return outcome(body)


def outcome(body: bytes) -> dict[str, Any] | None:
    try:
        return parse_object(body)
    except BadRequest:
        return None


@given(
    pairs=st.lists(st.tuples(_TEXTS, _VALUES), max_size=4),
    ascii_only=st.booleans(),
    cut=st.integers(0, 60),
    junk=st.binary(max_size=2),
)
def test_both_ways_read_a_body_alike(pairs: list[tuple[str, Any]], *, ascii_only: bool, cut: int, junk: bytes) -> None:
    whole = members(pairs, ascii_only=ascii_only).encode("utf-8", "surrogatepass")
    with pytest.MonkeyPatch.context() as monkeypatch:
        for body in (whole, whole[:cut] + junk + whole[cut:]):
            assert outcome(body) == strictly(body, monkeypatch)


@pytest.mark.parametrize(
    "body",
    [
        '{"a": "b", "a": "c"}',
        '{"a": {"x": "1", "x": "2"}}',
        '{"a": {"x": "y"}, "a": null}',
        '{"a": 1, "a": "b"}',
        '{"a": "b", "\\u0061": "c"}',
        '{"a": "b"} {"c": "d"}',
        '{"a": "b",}',
        '["a"]',
        '{"a": NaN}',
        '{"a": "\x01"}',
        '\ufeff{"a": "b"}',
    ],
)
def test_refused_whichever_way_looks_first(body: str) -> None:
    with pytest.raises(BadRequest):
        parse_object(body.encode())


def test_what_plugins_send_takes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_body, "_decode", None)
    sent = {"plugin_name": "a", "metadata": {"region": "é"}, "installation": {"os": "linux"}, "nonce": None}
    assert parse_object(json.dumps(sent, ensure_ascii=False).encode()) == sent
