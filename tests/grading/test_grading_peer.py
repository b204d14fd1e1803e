"""math-verify's opinion, asked in the sandbox."""

from __future__ import annotations

from pathlib import Path

import pytest

from tutelage.grading.peer import MathVerify


def test_where_it_is_not_installed_it_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    peer = MathVerify()
    assert not peer.is_there()
    assert "not installed" in (peer.why_absent or "")


@pytest.mark.slow
def test_its_opinions_and_that_what_it_runs_is_held(tmp_path: Path) -> None:
    peer, marker = MathVerify(), tmp_path / "marker"
    if not peer.is_there():
        pytest.skip(peer.why_absent or "")
    pairs = [
        ("1/2", "0.5"), ("1/2", "0.7"), (r"x^2+1", r"1+x^2"), ("8", "7 = 8"),  # the last is wrong, and its opinion
        ("1", f"__import__('os').system('touch {marker}')"), ("1", "10^{10^{10}}"), ("3", r"\frac{6}{2}"),
    ]  # fmt: skip
    opinions = peer.ask(pairs)
    peer.close()
    assert opinions[:4] == [True, False, True, True]
    assert opinions[4] is not True and opinions[5] is not True and opinions[6] is True
    assert not marker.exists()
