"""Flawed solutions on purpose: stage 1 of AutoMathCritique (arXiv 2411.16579), as flows of one problem.

    RG1  from scratch: sample hot; known: the answer is wrong
    RG2  keep steps 1 .. j-1 of a right path, write on step by step with a temperature that rises; known: the step too
    RG3  put a mistake of a chosen kind into step j, let the actor finish; known: the step and the kind

Branches continue the right path's tokens, so a backend that keeps them computes only what is new. A path comes from
the actor where a sample of it is right, else from the data. RG2's step is the first that differs from the path, which
is where the error can begin at the earliest; it may be right itself, and the error come later.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tutelage.evaluation.critic_prompts import mistake_prompt
from tutelage.evaluation.plays import ACTOR, Table
from tutelage.problems.mistakes import Mistake
from tutelage.problems.primer import mistaken_line, story_of
from tutelage.recipes.critique_records import Specimen
from tutelage.records import Completion, SamplingParams, Verdict, record_id, seed_of
from tutelage.sampling.completing import decode
from tutelage.sampling.flows import child_request, splice
from tutelage.text.critiques import judged_steps, solution_steps

Judge = Callable[[Completion], Verdict]
MAX_PIECES = 64
"""Steps of one branch after which it is written to its end in one go."""


@dataclass(frozen=True)
class HeatSettings:
    """How the temperature rises along an RG2 branch: from `first` by `rise` a step, to `most`."""

    first: float = 1.0
    rise: float = 0.1
    most: float = 1.5

    def at(self, step: int) -> float:
        """The temperature of the `step`-th new step, from 0."""
        return min(self.most, self.first + self.rise * step)


@dataclass(frozen=True)
class Path:
    """A right solution to branch from; its steps with their places in the text."""

    solution: Completion
    is_gold: bool

    @property
    def num_steps(self) -> int:
        """How many steps there are to branch at."""
        return len(judged_steps(self.solution.text))

    def start_of(self, step: int) -> int:
        """Where a step begins in the text."""
        return judged_steps(self.solution.text)[step].start


def from_scratch(table: Table, *, num: int, params: SamplingParams) -> Generator[Any, Any, tuple[Completion, ...]]:
    """RG1: `num` independent solutions."""
    prompt = table.players[ACTOR].prompter.render(table.problem)
    requests = tuple(table.ask(ACTOR, prompt, role="answer", index=index, params=params) for index in range(num))
    written: tuple[Completion, ...] = yield requests
    return written


def right_path(table: Table, samples: Sequence[Completion], judge: Judge, rng: random.Random) -> Path | None:
    """A right sample, or else the data's worked solution; None where there is neither, or it has no step."""
    right = [sample for sample in samples if judge(sample).is_correct and sample.finish_reason == "stop"]
    path = Path(rng.choice(right), False) if right else gold_path(table)
    return path if path is not None and path.num_steps else None


def gold_path(table: Table) -> Path | None:
    """The worked solution as if the actor had written it; None where the problem has none."""
    problem, seat = table.problem, table.players[ACTOR]
    if not problem.solution:
        return None
    ids = seat.prompter.target_ids(problem)
    whole = Completion(
        f"gold:{problem.id}", problem.id, "answer", seat.policy, seat.prompter.tokenizer_digest,
        seat.prompter.render(problem).ids, ids, seat.prompter.target_text(problem), ((0, len(ids), "forced"),),
        (0.0,) * len(ids), "stop", seat.params, table.seed, stage=table.stage,
    )  # fmt: skip
    return Path(whole, True)


def cut(table: Table, path: Path, step: int) -> Completion:
    """The path up to a step, as a completion that can be continued: as many whole tokens as end there or before."""
    tokenizer, whole = table.players[ACTOR].prompter.tokenizer, path.solution
    low, high, limit = 0, len(whole.token_ids), path.start_of(step)
    while low < high:  # the longest run of tokens whose text is no longer than what is kept
        middle = (low + high + 1) // 2
        if len(decode(tokenizer, whole.token_ids[:middle])) <= limit:
            low = middle
        else:
            high = middle - 1
    segments = tuple((a, min(b, low), kind) for a, b, kind in whole.segments if a < low)
    return replace(
        whole, token_ids=whole.token_ids[:low], token_logprobs=whole.token_logprobs[:low], segments=segments,
        text=decode(tokenizer, whole.token_ids[:low]), finish_reason="pause", stage=table.stage,
    )  # fmt: skip


def raised_from(
    table: Table, path: Path, step: int, heat: HeatSettings, *, index: int
) -> Generator[Any, Any, Completion | None]:
    """RG2: the path kept up to `step`, then written on with a temperature that rises step by step.

    Returns:
        The whole solution; None where a request failed.
    """
    seat = table.players[ACTOR]
    kept = whole = cut(table, path, step)
    room = seat.params.max_new_tokens
    for piece_number in range(MAX_PIECES + 1):
        params = replace(
            seat.params, temperature=heat.at(piece_number), max_new_tokens=room,
            pause=("\n",) if piece_number < MAX_PIECES else (),
        )  # fmt: skip
        request = _branch(table, path, whole, params, kept=len(whole.token_ids), index=index)
        piece: Completion = yield request
        if piece.finish_reason == "error":
            return None
        whole = splice(whole, (), "model", piece)
        room -= len(piece.token_ids)
        if piece.finish_reason != "pause" or room < 1:
            break
    reason = "length" if whole.finish_reason == "pause" else whole.finish_reason
    return _named(path, kept, replace(whole, finish_reason=reason), f"RG2/{step}", index)


def with_mistake(
    table: Table, path: Path, step: int, line: str, params: SamplingParams, *, index: int
) -> Generator[Any, Any, Completion | None]:
    """RG3: the path up to `step`, the given line in its place, and what the actor writes then; None if that failed."""
    seat = table.players[ACTOR]
    kept = cut(table, path, step)
    old = judged_steps(path.solution.text)[step]
    after = old.text[len(old.text.rstrip()) :] or "\n"
    inserted = tuple(seat.prompter.tokenizer(line + after, add_special_tokens=False)["input_ids"])
    room = max(1, params.max_new_tokens - len(inserted))
    request = _branch(
        table, path, kept, replace(params, max_new_tokens=room), kept=len(kept.token_ids), index=index,
        inserted=inserted,
    )  # fmt: skip
    rest: Completion = yield request
    if rest.finish_reason == "error":
        return None
    whole = splice(kept, inserted, "forced", rest, inserted_text=line + after)
    return _named(path, kept, whole, f"RG3/{step}/{line}", index)


def mistake_by_world(table: Table, path: Path, step: int, mistake: Mistake, rng: random.Random) -> str | None:
    """The step with a mistake in it, as the built-in world makes it; None where it has none of that kind."""
    lines = solution_steps(path.solution.text)
    story = story_of(table.problem)
    before = lines[step - 1].rpartition("=")[2] if step else str(story.start)
    if mistake.primer is None or step >= len(story.steps) or not before.strip().isdecimal():
        return None
    return mistaken_line(story, step, int(before), mistake.primer, rng)


def mistake_by_model(
    table: Table, path: Path, step: int, mistake: Mistake, player: str, params: SamplingParams, *, index: int
) -> Generator[Any, Any, str | None]:
    """The step with a mistake in it, as a model writes it: its first line, unless that is the right step again."""
    seat = table.players[player]
    old = judged_steps(path.solution.text)[step]
    before = path.solution.text[: old.start]
    prompt = mistake_prompt(seat.prompter, table.problem, before, old.content, mistake.description)
    said: Completion = yield table.ask(
        player, prompt, role="annotation", parent=cut(table, path, step), index=index, params=params,
        facts={"step": old.content, "mistake": mistake.name},
    )  # fmt: skip
    line = next((line.strip() for line in said.text.split("\n") if line.strip()), "")
    is_new = "".join(line.split()) != "".join(old.content.split())
    return line if line and is_new and said.finish_reason != "error" else None


def first_difference(path: Path, solution: Completion, step: int) -> int:
    """The first step, from `step` on, at which a solution differs from the path it was branched from."""
    old, new = solution_steps(path.solution.text), solution_steps(solution.text)
    for number in range(step, min(len(old), len(new))):
        if "".join(old[number].split()) != "".join(new[number].split()):
            return number
    return min(max(step, min(len(old), len(new))), max(len(new) - 1, 0))


def wrong_one(
    solution: Completion | None, judge: Judge, *, way: Any, location: int | None, mistake: str = ""
) -> Specimen | None:
    """The solution as a specimen where it came out wrong, with an answer; None where it did not."""
    verdict = None if solution is None else judge(solution)
    if solution is None or verdict is None or verdict.outcome != "incorrect":
        return None
    return Specimen(solution, verdict, way, location, mistake)


def _branch(
    table: Table, path: Path, so_far: Completion, params: SamplingParams, *, kept: int, index: int,
    inserted: tuple[int, ...] = (),
) -> Any:  # fmt: skip
    """A request that goes on from `so_far`: from the last piece, or from the path that it was cut from."""
    seat = table.players[ACTOR]
    request = child_request(so_far, role="chunk", policy=seat.policy, params=params, index=index, player=ACTOR,
                            inserted_ids=inserted)  # fmt: skip
    # One path may be branched at one place in many ways: what is asked is in the id.
    own = record_id(table.stage, table.problem.id, f"{path.solution.id}/{list(request.prompt_ids)}/{params}", index)
    return replace(
        request, id=own, seed=seed_of(table.seed, table.problem.id, "branch", kept, index, list(inserted)),
        stage=table.stage, continues=None if path.is_gold else path.solution.id,
        parent_id=path.solution.id, branch_position=kept,
        metadata={
            "question": table.problem.question, "answer": table.problem.answer, "room": params.max_new_tokens,
            "written": len(so_far.token_ids) + len(inserted),
        },
    )  # fmt: skip


def _named(path: Path, kept: Completion, whole: Completion, how: str, index: int) -> Completion:
    """The whole solution under an id of its own, as a branch of the path at the end of what was kept."""
    return replace(
        whole, id=record_id(kept.stage, whole.problem_id, f"{path.solution.id}/{how}", index), role="answer",
        parent_id=path.solution.id, branch_position=len(kept.token_ids), index=index, stage=kept.stage,
    )  # fmt: skip
