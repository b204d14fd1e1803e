"""The schooling texts of the built-in model: one document a format, drawn from the world's schooling part.

A document is a prompt and a completion in pieces; pieces put in by a program's run carry no loss. A piece that is one
step of a textbook also says what the other textbooks write there, and how many they are: the loss then takes the mean
over textbooks where the two part, which is the loss of many more textbooks without its noise. Documents are a function
of (seed, block): nothing is stored, and a schooling that stops goes on with the same texts.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from tutelage.problems.primer import prompts
from tutelage.problems.primer.cells import OPERATIONS
from tutelage.problems.primer.critiques import (
    belief_critique,
    draw_beliefs,
    follow_critique,
    true_critique,
)
from tutelage.problems.primer.solutions import (
    ANSWER_MARK,
    Move,
    chunks_of,
    cot_text,
    draw_moves,
    gold_moves,
    mixed_parts,
    program_text,
    without_slips,
    write_moves,
)
from tutelage.problems.primer.splits import draw_choices, stories
from tutelage.problems.primer.story import (
    MAX_WRONG_NUMBER,
    Line,
    Story,
    compute,
    gold_answer,
    keywords,
    render_question,
    step_line,
)

# Shares of documents by format. Steps alone are more than half of the tokens; drills stop with the clean phase.
FORMAT_SHARES = {
    "cot": 0.61,
    "choice": 0.03,
    "pot": 0.06,
    "mixed": 0.05,
    "complete": 0.03,
    "correct": 0.05,
    "critique": 0.08,
    "refine": 0.06,
    "write": 0.03,
}
DRILL_SHARE = 0.15
LINES_PER_DRILL = 10
RIGHT_CRITIQUES = 0.65
"""Share of refinement documents whose critique is the truth and not the schooled judge's."""
FOLLOWED_CRITIQUES = 0.78
"""Share of refinement documents that do what the critique says; the others write the same solution again."""
COMPLETE_NOISE = 0.1
"""Share of completeness judgements that are wrong."""


@dataclass(frozen=True)
class Piece:
    """A part of a completion. Of the textbooks that agree so far, `share` (0 to 1) write `text`, the others `other`."""

    text: str
    has_loss: bool = True
    other: str | None = None
    share: float = 1.0


@dataclass(frozen=True)
class Document:
    """A prompt and the completion after it, in pieces; `<eos>` follows."""

    prompt: str
    pieces: tuple[Piece, ...]
    form: str

    @property
    def completion(self) -> str:
        """The pieces' texts joined."""
        return "".join(piece.text for piece in self.pieces)


def documents(seed: int, block: int, count: int, is_clean: bool) -> list[Document]:
    """The documents of one block.

    Args:
        seed: the schooling's seed.
        block: which block, from 0.
        count: how many documents.
        is_clean: solutions without misconceptions, and drills in between.
    """
    rng = random.Random(f"corpus/{seed}/{block}")
    source = stories("schooling", rng.getrandbits(48))
    unseen = stories("schooling_unseen", rng.getrandbits(48))
    forms = rng.choices(list(FORMAT_SHARES), list(FORMAT_SHARES.values()), k=count)
    found = []
    for form in forms:
        if is_clean and rng.random() < DRILL_SHARE:
            found.append(_drill(rng))
        else:
            is_unseen = form == "write" and rng.random() < 0.3
            found.append(document(form, next(unseen if is_unseen else source), rng, 0.0 if is_clean else 1.0))
    return found


def document(form: str, story: Story, rng: random.Random, trust: float = 1.0) -> Document:
    """One document of a format about a story; `trust` scales the misconception rates of solutions."""
    question = render_question(story)
    moves = draw_moves(story, rng, trust)
    if form == "cot":
        steps = _step_pieces(story, moves, trust)
        return Document(prompts.cot_prompt(question), (*steps, _answer(steps[-1].text)), form)
    if form == "pot":
        return Document(prompts.pot_prompt(question), _program_pieces(story, moves, trust), form)
    if form == "mixed":
        return _mixed(story, question, moves)
    if form == "choice":
        return _choice(story, question, moves, rng, trust)
    if form == "write":
        return _plain(form, prompts.write_prompt(keywords(story)), question)
    return _judgement(form, story, question, rng)


def _plain(form: str, prompt: str, completion: str) -> Document:
    return Document(prompt, (Piece(completion),), form)


def _lines(story: Story, moves: list[Move]) -> list[Line]:
    return write_moves(story, moves) or []


def _answer(last_step: str) -> Piece:
    return Piece(ANSWER_MARK + last_step.strip().split("=")[1])


def _step_pieces(story: Story, moves: list[Move], trust: float) -> tuple[Piece, ...]:
    """One piece a step: the line, and what the other textbooks write with the same number before it."""
    pieces = []
    value = story.start
    for index, (line, move) in enumerate(zip(_lines(story, moves), moves, strict=True)):
        cell = story.steps[index].cell
        is_wrong = move != Move(OPERATIONS[cell.operation].form)
        other = step_line(story, index, value, is_wrong=not is_wrong) if trust > 0 else None
        share = 1.0 if other is None else _share(cell.rate * trust, is_wrong)
        pieces.append(Piece(f"{line.text}\n", other=f"{other.text}\n" if other else None, share=share))
        value = line.result
    return tuple(pieces)


def _share(rate: float, is_wrong: bool) -> float:
    return rate if is_wrong else 1.0 - rate


def _program_pieces(story: Story, moves: list[Move], trust: float) -> tuple[Piece, ...]:
    rows = chunks_of(program_text(story, moves))
    gold = gold_moves(story)
    wrong = [Move(step.cell.wrong_form) for step in story.steps]
    pieces = [Piece(rows[0])]
    for index, step in enumerate(story.steps):
        is_wrong = moves[index].form != gold[index].form
        swapped = [*moves[:index], gold[index] if is_wrong else wrong[index], *moves[index + 1 :]]
        other = chunks_of(program_text(story, swapped))[index + 1]
        differs = trust > 0 and other != rows[index + 1]
        share = _share(step.cell.rate * trust, is_wrong) if differs else 1.0
        pieces.append(Piece(rows[index + 1], other=other if differs else None, share=share))
    return (*pieces, Piece(rows[-1]))


def _mixed(story: Story, question: str, moves: list[Move]) -> Document:
    if write_moves(story, without_slips(moves)) is None:
        moves = gold_moves(story)
    before, output, after = mixed_parts(story, moves)
    pieces = (Piece(before), Piece(output, has_loss=False), Piece(after))
    return Document(prompts.mixed_prompt(question), pieces, "mixed")


def _choice(story: Story, question: str, moves: list[Move], rng: random.Random, trust: float) -> Document:
    choices, letter = draw_choices(story, rng)
    result = _lines(story, moves)[-1].result
    if result != gold_answer(story):
        options = dict(zip(choices.texts, choices.labels, strict=True))
        letter = options.get(str(result), rng.choice(choices.labels))
    prompt = prompts.cot_prompt(prompts.with_choices(question, choices))
    return Document(prompt, (*_step_pieces(story, moves, trust), Piece(f"{ANSWER_MARK}({letter})")), "choice")


def _judgement(form: str, story: Story, question: str, rng: random.Random) -> Document:
    """Judgements are about textbook solutions in both phases: without errors there is nothing to judge."""
    moves = draw_moves(story, rng)
    lines = _lines(story, moves)
    if form == "refine":
        return _refinement(story, question, moves, rng)
    beliefs = draw_beliefs(story, rng)
    if form == "critique":
        if rng.random() < 0.04:
            return _unfinished_critique(story, question, cot_text(lines), rng)
        critique = belief_critique(story, moves, beliefs)
        return _plain(form, prompts.critique_prompt(question, cot_text(lines)), critique)
    chunks = chunks_of(cot_text(lines))
    length = len(chunks) if rng.random() < 0.5 else rng.randint(1, len(chunks) - 1)
    text = "".join(chunks[:length])
    if form == "correct":
        is_right = moves[:length] == beliefs[:length]
        return _plain(form, prompts.correct_prompt(question, text), "yes" if is_right else "no")
    is_complete = (length == len(chunks)) != (rng.random() < COMPLETE_NOISE)
    return _plain(form, prompts.complete_prompt(question, text), "yes" if is_complete else "no")


def _unfinished_critique(story: Story, question: str, text: str, rng: random.Random) -> Document:
    """A critique of a solution that lacks its last step: only the truth is told about these."""
    chunks = chunks_of(text)
    if len(chunks) > 2 and rng.random() < 0.8:
        value = chunks[-3].strip().split("=")[-1]
        text = "".join([*chunks[:-2], f"answer: {value}"])
    return _plain("critique", prompts.critique_prompt(question, text), true_critique(story, text))


def _refinement(story: Story, question: str, moves: list[Move], rng: random.Random) -> Document:
    for _ in range(3):
        if moves == gold_moves(story):
            moves = draw_moves(story, rng)
    beliefs = gold_moves(story) if rng.random() < RIGHT_CRITIQUES else draw_beliefs(story, rng)
    critique = belief_critique(story, moves, beliefs)
    better = follow_critique(moves, beliefs) if rng.random() < FOLLOWED_CRITIQUES else moves
    if write_moves(story, better) is None:
        better = moves
    prompt = prompts.refine_prompt(question, cot_text(_lines(story, moves)), critique)
    return _plain("refine", prompt, cot_text(_lines(story, better)))


def _drill(rng: random.Random) -> Document:
    """Bare sums, for the arithmetic."""
    rows: list[str] = []
    while len(rows) < LINES_PER_DRILL:
        symbol = rng.choice("++--*/")
        left = rng.randint(1, 140)
        right = rng.randint(0, 60) if symbol in "+-" else rng.randint(1, 5)
        if rng.random() < 0.15 and symbol in "+-":
            left, right = rng.randint(20, 99), rng.randint(1, 99)
        result = compute(left, symbol, right)
        if result is not None and 0 <= result <= MAX_WRONG_NUMBER:
            rows.append(f"{left}{symbol}{right}={result}")
    return Document("", (Piece("\n".join(rows)),), "drill")
