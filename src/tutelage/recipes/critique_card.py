"""What critique data consist of: the files for other trainers, and the card that counts what is in them.

The files lie in `dataset/` of the run folder: `trl.jsonl`, `llama_factory.jsonl` with its `dataset_info.json`,
`mathcritique.jsonl` in the fields of the released sample, `card.json`, and `README.md`, the card in words.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tutelage.evaluation.critic_flows import RETOKENIZED
from tutelage.problems.critique_files import CritiqueRow, alpaca_rows, mathcritique_rows, trl_rows
from tutelage.problems.primer import annotate_problem
from tutelage.recipes.critique_flow import Made
from tutelage.recipes.critique_records import FATES, WAYS, CritiqueSample
from tutelage.records import Problem
from tutelage.text.critiques import CritiqueText, read_critique

DATASET_INFO = {
    "critiques": {
        "file_name": "llama_factory.jsonl",
        "columns": {"prompt": "instruction", "query": "input", "response": "output"},
    }
}
MAX_POSITION = 8
"""Positions from this one on are counted together."""


def rows_of(samples: Iterable[CritiqueSample]) -> list[CritiqueRow]:
    """The kept samples as rows for files; one whose text cannot be read is never among them."""
    rows = []
    for sample in samples:
        critique = read_critique(sample.critique, sample.form)
        if sample.fate == "kept" and isinstance(critique, CritiqueText):
            rows.append(
                CritiqueRow(
                    sample.id, sample.question, sample.answer, sample.solution, critique, sample.form, sample.way,
                    sample.mistake, sample.location, sample.refined,
                )
            )  # fmt: skip
    return rows


def card_of(made: Sequence[Made], problems: Sequence[Problem]) -> dict[str, Any]:
    """Counts of what was made, annotated and kept.

    Keys: `problems`, and with at least one kept critique; `solutions` by way: made, and wrong as they should be (right
    for way "right"); `fates` by way; `kept` by way, mistake and position of the first error (from 1); `annotator`
    calls, critiques that could be read, reasons of the others, and how many are about texts of another tokenizer;
    `helped`, mean share of right refinements; on the
    built-in problems `truth`.
    """
    samples = [sample for one in made for sample in one.samples]
    kept = [sample for sample in samples if sample.fate == "kept"]
    refined = [sample for sample in samples if sample.num_refined]
    fates = {way: Counter(s.fate for s in samples if s.way == way) for way in WAYS}
    places = [_position(s.first_error) for s in kept if s.first_error is not None]
    card: dict[str, Any] = {
        "problems": len(made),
        "problems_kept": len({sample.problem_id for sample in kept}),
        "solutions": {
            way: {"made": sum(m.tried.get(way, 0) for m in made), "wrong": sum(m.wrong.get(way, 0) for m in made)}
            for way in WAYS if way != "right"
        },
        "fates": {way: {fate: fates[way][fate] for fate in FATES} for way in WAYS},
        "kept": {
            "way": {way: fates[way]["kept"] for way in WAYS},
            "mistake": dict(sorted(Counter(s.mistake for s in kept if s.mistake).items())),
            "position": {place: places.count(place) for place in sorted(set(places))},
        },
        "annotator": {
            "calls": sum(sample.attempts for sample in samples),
            "read": sum(sample.fate != "unreadable" for sample in samples),
            "unreadable": dict(sorted(Counter(reason for s in samples for reason in s.unreadable).items())),
            "retokenized": sum(RETOKENIZED in critique.note for m in made for critique in m.critiques),
        },
        "helped": round(sum(s.num_right / s.num_refined for s in refined) / len(refined), 4) if refined else None,
    }  # fmt: skip
    truth = truth_of(samples, problems)
    return {**card, "truth": truth} if truth else card


def _position(first_error: int) -> str:
    return str(first_error + 1) if first_error + 1 < MAX_POSITION else f"{MAX_POSITION}+"


def truth_of(samples: Sequence[CritiqueSample], problems: Sequence[Problem]) -> dict[str, Any] | None:
    """On the built-in problems: how often the known location is the true one, and critiques say the truth.

    `location` by way: share of solutions whose first wrong step is where it is said to be. `steps` and `final` are
    shares of right verdicts among kept critiques and among those that were dropped.
    """
    by_id = {p.id: p for p in problems if "story" in p.metadata}
    known = [(s, annotate_problem(by_id[s.problem_id], s.solution)) for s in samples if s.problem_id in by_id]
    if not known:
        return None
    out: dict[str, Any] = {"location": {}}
    for way in ("RG2", "RG3"):
        hits = [truth.first_error == s.location for s, truth in known if s.way == way]
        out["location"][way] = {"right": round(sum(hits) / len(hits), 4) if hits else None, "n": len(hits)}
    for name, are_kept in (("kept", True), ("dropped", False)):
        steps, final = [], []
        for sample, truth in known:
            critique = read_critique(sample.critique, sample.form)
            if (sample.fate == "kept") != are_kept or not isinstance(critique, CritiqueText):
                continue
            pairs = zip(critique.steps, truth.steps, strict=False)
            steps += [said.is_correct == true.is_correct for said, true in pairs]
            final.append(critique.final_is_correct == (truth.first_error is None and truth.final_is_correct))
        shares = [round(sum(x) / len(x), 4) if x else None for x in (steps, final)]
        out[name] = {"steps": shares[0], "final": shares[1], "n": len(final)}
    return out


def write_dataset(folder: Path, rows: list[CritiqueRow], card: dict[str, Any], settings: dict[str, Any]) -> None:
    """Write the files and the card; what lies there is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, made in (("trl", trl_rows(rows)), ("llama_factory", alpaca_rows(rows)),
                       ("mathcritique", mathcritique_rows(rows))):  # fmt: skip
        with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as file:
            for row in made:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    for name, value in (("dataset_info", DATASET_INFO), ("card", {**card, "settings": settings})):
        (folder / f"{name}.json").write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_in_words(card, settings, len(rows)), encoding="utf-8")


def _in_words(card: dict[str, Any], settings: dict[str, Any], count: int) -> str:
    rows = [
        "# Step-level critiques", "",
        f"{count} critiques of solutions of {card['problems_kept']} problems, from `tutelage run critique-data`.", "",
        f"Annotator: {settings['annotator']}. A critique of a wrong solution was kept if at least "
        f"{settings['min_right']} of {settings['num_refinements']} refinements that used it were right.", "",
        "| way | " + " | ".join(FATES) + " |", "|---|" + "--:|" * len(FATES),
        *(f"| {way} | " + " | ".join(str(card["fates"][way][fate]) for fate in FATES) + " |" for way in WAYS), "",
    ]  # fmt: skip
    for title, counts in (("kind of mistake", card["kept"]["mistake"]),
                          ("first wrong step", card["kept"]["position"])):  # fmt: skip
        rows += [f"| {title} | critiques |", "|---|--:|", *(f"| {key} | {n} |" for key, n in counts.items()), ""]
    return "\n".join(rows)
