"""The shipped model: loads as it is, belongs to this world, and stands where its card says."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict

import pytest
import torch

from tutelage.primer import PRIMER_VERSION, model_path
from tutelage.primer.build import cell_digest
from tutelage.primer.measuring import Drawing, complete
from tutelage.primer.schooling import SchoolingConfig
from tutelage.problems.primer import (
    annotate_problem,
    cot_prompt,
    critique_prompt,
    mixed_prompt,
    parse_critique,
    pot_prompt,
    primer_problems,
)

FACTS = json.loads((model_path() / "primer.json").read_text())


@pytest.fixture(scope="module")
def loaded():
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(model_path()).eval()
    return model, AutoTokenizer.from_pretrained(model_path())


def test_facts_name_this_world_and_the_default_schooling() -> None:
    assert FACTS["version"] == PRIMER_VERSION
    assert FACTS["cells"] == cell_digest()
    assert FACTS["schooling"] == asdict(SchoolingConfig())
    assert FACTS["num_parameters"] <= 1_000_000
    assert 0.20 <= FACTS["dev"]["greedy"] <= 0.45
    assert 0.65 <= FACTS["dev"]["pass@8"] <= 0.90
    assert min(FACTS["dev"]["bins"]) >= 0.10


def test_greedy_accuracy_is_that_of_the_card(loaded) -> None:
    problems = primer_problems("dev", 150)
    texts = complete(*loaded, [cot_prompt(p.question) for p in problems], Drawing())
    notes = [annotate_problem(p, text) for p, (text,) in zip(problems, texts, strict=True)]
    assert all(note.is_complete for note in notes)
    # the same problems are among the card's; 150 of them lie within 3 standard errors of 500
    assert abs(sum(n.final_is_correct for n in notes) / 150 - FACTS["dev"]["greedy"]) < 0.12


def test_formats_are_written_as_specified(loaded) -> None:
    problems = primer_problems("dev", 20)
    programs = complete(*loaded, [pot_prompt(p.question) for p in problems], Drawing())
    assert all(text.startswith("a=") and text.endswith("print(a)") for (text,) in programs)
    mixed = complete(*loaded, [mixed_prompt(p.question) for p in problems], Drawing(max_new_tokens=96))
    assert all(text.startswith("plan: ") and "```\n```output\n" in text for (text,) in mixed)
    prompts = [critique_prompt(p.question, p.solution or "") for p in problems]
    critiques = complete(*loaded, prompts, Drawing(max_new_tokens=96))
    parsed = [parse_critique(text) for (text,) in critiques]
    assert [len(critique.steps) for critique in parsed] == [int(p.level or 0) for p in problems]
    assert all(critique.final_is_correct is not None for critique in parsed)


def test_naming_the_model_loads_no_torch() -> None:
    code = (
        "import sys, tutelage.primer, tutelage.problems.primer; print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.split() == ["False", "False"]
