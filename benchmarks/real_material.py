"""What the 360 pipeline's recipes need to run on recorded texts, in a scratch folder: data, texts, a model, a judge.

Published rows become files as a user would write them: problems, one recording a model, and one of all together, in
which a problem's samples are the answers of the models, in the files' order. What has to learn is a tiny random model
with a byte-level vocabulary learnt from the questions. In the place of a teacher and a judge stands a script that says
what the published label says of a text: no judge's opinions are among the published rows.

All of it holds rows of the data: it is written to a temporary folder and never into the repository.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from real_outputs import Material, Source, load, make_tokenizer

from tutelage.problems.loading import save_problems
from tutelage.records import Problem, seed_of

_OUTPUTS = "model_outputs/"
_LLMS, _SMALL = _OUTPUTS + "gsm8k_test_llms.jsonl.gz", _OUTPUTS + "gsm8k_test_small.jsonl.gz"
SOURCES = {
    source.name: source
    for source in (
        Source("gsm8k-12-models", (_LLMS,), "gsm8k/test.jsonl", 10),
        Source("gsm8k-8-small", (_SMALL,), "gsm8k/test.jsonl", 10),
        Source("gsm8k-20-models", (_LLMS, _SMALL), "gsm8k/test.jsonl", 10),
        Source("math-8-samples", (_OUTPUTS + "math_8samples.jsonl",), "math/test.jsonl", 15),
    )
}
CONTEXT = 8192
FEW = 4
"""Problems of a file to name where a recipe wants problems to measure on and nothing is measured."""

LABELS = '''"""A judge that says what the published label says of a text."""
import json
from pathlib import Path

SAID = json.loads((Path(__file__).parent / "labels.json").read_text(encoding="utf-8"))


def answer(request):
    known = [row for row in SAID[request.problem_id] if row[0] in request.prompt_text]
    is_right = max(known, key=lambda row: len(row[0]))[1]
    return "It holds.\\nRating: [[9]]" if is_right else "It fails.\\nRating: [[3]]"
'''


@dataclass(frozen=True)
class Scene:
    """A scratch folder in which recipes can run.

    Args:
        folder: where all files lie.
        material: the rows.
        samples: of each model and problem.
        models: recordings by the model that wrote them, in the files' order; named as their files.
    """

    folder: Path
    material: Material
    samples: int
    models: dict[str, Path]

    def data(self, name: str) -> str:
        """The spelling of some of the problems: `all`, `learnt` and `held` (halves), `few`."""
        return f"jsonl:{self.folder / name}.jsonl"

    @property
    def model(self) -> str:
        """The tiny model."""
        return str(self.folder / "tiny")

    @property
    def pooled(self) -> str:
        """The sampler that gives all texts of a problem, as one model's samples."""
        return f"replay:{self.folder / 'pooled.jsonl'}"

    @property
    def labels(self) -> str:
        """The sampler that answers a judge's prompts by the published label."""
        return f"scripted:{self.folder / 'labels.py'}:answer"


def set_scene(source: Source, data: Path, folder: Path) -> Scene:
    """Write everything for one source.

    Args:
        source: published outputs and their problems.
        data: folder of the data.
        folder: empty, and not inside the repository.
    """
    material = load(source, data)
    halves = halved(material.problems)
    for name, problems in (("all", material.problems), ("few", material.problems[:FEW]), *halves.items()):
        save_problems(problems, folder / f"{name}.jsonl")
    everything = [row for rows in material.rows.values() for row in rows]
    write_rows(folder / "pooled.jsonl", everything)
    (folder / "models").mkdir()
    by_model: dict[str, list[Mapping[str, Any]]] = {}
    for row in everything:
        by_model.setdefault(file_name(row["model"]), []).append(row)
    models = {}
    for name, rows in by_model.items():
        models[name] = folder / "models" / f"{name}.jsonl"
        write_rows(models[name], rows)
    samples = len(next(iter(by_model.values()))) // len(material.problems)
    write_judge(folder, material)
    make_model(folder / "tiny", material.problems)
    return Scene(folder, material, samples, models)


def halved(problems: Iterable[Problem]) -> dict[str, list[Problem]]:
    """Problems to learn from, and problems held out from that, by a hash of their ids."""
    halves: dict[str, list[Problem]] = {"learnt": [], "held": []}
    for problem in problems:
        halves["learnt" if seed_of("half", problem.id) % 2 else "held"].append(problem)
    return halves


def file_name(model: str) -> str:
    """A model's name as that of a file.

    >>> file_name("teacher (a/b) 2")
    'teacher-a-b-2'
    """
    return re.sub(r"[^\w.]+", "-", model).strip("-")


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """A recording: the rows' problem, text and model. Their order says which sample is which."""
    kept = ("question_id", "completion", "model")
    lines = (json.dumps({key: row[key] for key in kept}) for row in rows)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_judge(folder: Path, material: Material) -> None:
    """The script that judges by the published labels, and what it reads."""
    said = {
        problem: [[row["completion"].strip(), bool(row["correct"])] for row in rows]
        for problem, rows in material.rows.items()
    }
    (folder / "labels.json").write_text(json.dumps(said), encoding="utf-8")
    (folder / "labels.py").write_text(LABELS, encoding="utf-8")


def make_model(folder: Path, problems: Iterable[Problem]) -> None:
    """A random Llama of two layers that reads any text."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = make_tokenizer(problems)
    torch.manual_seed(0)
    end = tokenizer.eos_token_id
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=CONTEXT, tie_word_embeddings=True, bos_token_id=end,
        eos_token_id=end, pad_token_id=end,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
