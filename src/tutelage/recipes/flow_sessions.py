"""A sampler session that judges by comparison: Stop's decision is scored, not drawn.

It answers these requests itself and hands the others on, so that the flow and the sampler know nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tutelage.recipes.flow_prompts import StopPrompter
from tutelage.records import Completion
from tutelage.sampling.completing import Drawn, completion_of
from tutelage.sampling.recording import RecordingSession
from tutelage.sampling.session import SampleRequest, SamplerSession, ScoreRequest
from tutelage.store.run import Run

DIGITS = 4
"""Decimals to which compared log-probs are rounded: their last bits hang on what else is in the batch."""


class ComparingSession(RecordingSession):
    """As its base, but Stop's decision is the likelier of Yes and No, found by scoring both instead of drawing.

    Decisions are found together, once nothing else is outstanding: that makes the largest batches. A tie is a no.

    Args:
        stop_prompter: knows the tokens of the two decisions.
        tokenizer_digest: of the records.
    """

    def __init__(
        self,
        inner: SamplerSession,
        run: Run,
        have: Mapping[str, Completion],
        *,
        stop_prompter: StopPrompter,
        tokenizer_digest: str,
    ) -> None:
        super().__init__(inner, run, have)
        self.prompter, self.tokenizer_digest = stop_prompter, tokenizer_digest
        self._questions: list[SampleRequest] = []

    def submit(self, request: SampleRequest) -> None:
        """Queue a request."""
        if request.role == "stop" and request.id not in self.have:
            self._questions.append(request)
        else:
            super().submit(request)

    def completions(self) -> Iterator[Completion]:
        """Completions until every submitted request is answered."""
        while True:
            yield from super().completions()
            if not self._questions:
                return
            asked, self._questions = self._questions, []
            for completion in self._decided(asked):
                self._fresh.append(completion)
                yield completion
            self.flush()

    def _decided(self, asked: Sequence[SampleRequest]) -> list[Completion]:
        options = (self.prompter.yes_ids, self.prompter.no_ids)
        scored = self.inner.score(
            [
                ScoreRequest(r.prompt_ids, option[:-1], r.adapter, r.version, r.player)
                for r in asked
                for option in options
            ]
        )
        made = []
        for i, request in enumerate(asked):
            yes, no = ([round(value, DIGITS) for value in scored[2 * i + side]] for side in (0, 1))
            is_yes = sum(yes) > sum(no)
            ids, logprobs = (options[0], yes) if is_yes else (options[1], no)
            text = self.prompter.prompter.tokenizer.decode(list(ids[:-1]))
            note = f"log-prob of yes {sum(yes):.{DIGITS}f}, of no {sum(no):.{DIGITS}f}"
            drawn = Drawn(ids, (*logprobs, 0.0), text, "stop", note)
            made.append(
                completion_of(request, drawn, model=self.inner.policy.model, tokenizer_digest=self.tokenizer_digest)
            )
        return made
