"""The scripted backend: texts cut as a model's would be; scripts loaded from files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tutelage.errors import InputError, SamplerFailed
from tutelage.records import Policy
from tutelage.sampling.scripted import Scripted, ScriptedSampler, load_script
from tutelage.sampling.session import SamplerSession, ScoreRequest

POLICY = Policy("scripted")


def sampler(function: Any, load: Any) -> ScriptedSampler:
    return ScriptedSampler(function, load("llama")[1], POLICY)


@pytest.mark.parametrize(
    "said, params, text, reason, has_end",
    [
        ("four", {}, "four", "stop", True),
        ("four", {"max_new_tokens": 4}, "four", "length", False),
        ("four", {"max_new_tokens": 3}, "fou", "length", False),
        ("one. two", {"stop": (".",)}, "one.", "stop", False),
        ("one# two", {"pause": ("#",)}, "one#", "pause", False),
        (Scripted("cut", "length"), {"max_new_tokens": 1}, "cut", "length", False),
        (Scripted("end"), {}, "end", "stop", True),
        (Scripted("", "error", "broken"), {}, "", "error", False),
        ("", {}, "", "stop", True),
    ],
)
def test_texts_are_cut_as_a_models_would_be(
    said: Any, params: dict[str, Any], text: str, reason: str, has_end: bool, load: Any, helpers: Any
) -> None:
    tokenizer = load("llama")[1]
    found = helpers.answers(sampler(lambda _: said, load), [helpers.ask("p.0", (9,), **params)])["p.0"]
    assert (found.text, found.finish_reason) == (text, reason)
    end = (tokenizer.eos_token_id,) if has_end else ()
    assert found.token_ids == tuple(tokenizer.encode(text, add_special_tokens=False)) + end
    assert found.token_logprobs == (-1.0,) * len(found.token_ids)


def test_token_ids_are_taken_as_they_are(load: Any, helpers: Any) -> None:
    found = helpers.answers(sampler(lambda _: [20, 2, 30], load), [helpers.ask("p.0", (9,))])["p.0"]
    assert found.token_ids == (20, 2) and found.finish_reason == "stop"


def test_a_script_that_raises_is_an_error_completion(load: Any, helpers: Any) -> None:
    found = helpers.answers(sampler(lambda _: 1 / 0, load), [helpers.ask("p.0", (9,))])["p.0"]
    assert found.finish_reason == "error" and "ZeroDivisionError" in found.note


def test_the_session_notes_what_is_published_and_released(load: Any) -> None:
    session = sampler(lambda _: "x", load)
    session.publish("a", 2, Path("w"))
    session.release("c")
    assert (session.published, session.released) == ([("a", 2, Path("w"))], ["c"])
    assert session.score([ScoreRequest((1,), (2, 3))]) == [[-1.0, -1.0]]
    assert isinstance(session, SamplerSession) and session.policy == POLICY
    session.close()
    with pytest.raises(SamplerFailed):
        session.submit(None)  # type: ignore[arg-type]


def test_a_script_is_loaded_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "answers.py"
    file.write_text("import math\nvalue = 3\ndef write(request):\n    return 'x'\n")
    assert load_script(f"{file}:write")(None) == "x"  # type: ignore[arg-type]
    (tmp_path / "broken.py").write_text("import nothing_of_this_name\n")
    for where, words in [
        (str(file), "FILE.py:FUNCTION"),
        (f"{file}:", "FILE.py:FUNCTION"),
        (f"{tmp_path / 'no.py'}:f", "does not exist"),
        (f"{tmp_path / 'broken.py'}:f", "cannot be imported"),
        (f"{file}:value", "no such function"),
    ]:
        with pytest.raises(InputError, match=words):
            load_script(where)


def test_the_light_backends_need_no_torch() -> None:
    code = (
        "import sys, tutelage.sampling.scripted, tutelage.sampling.replay, tutelage.sampling.server;"
        "import tutelage.sampling.flows;"
        "print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
