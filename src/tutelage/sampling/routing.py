"""One session in front of several: a request goes to the player that it names.

For flows in which several models talk (an actor and a critic, samplers of different sizes). Each player's session is
opened when it is first asked, so that a stage whose completions are all recorded loads no model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tutelage.errors import SamplerFailed
from tutelage.records import Completion, Policy
from tutelage.sampling.session import SampleRequest, SamplerSession, ScoreRequest

Opener = Callable[[], AbstractContextManager[SamplerSession]]


class RoutedSession:
    """A session that hands each request to the player named in it; the first player answers those that name none.

    Players answer in turn, each until it has nothing left to do; what they are asked meanwhile is answered too.
    Leaving the context closes every session that was opened.

    Args:
        players: opens each player's session, by name.
    """

    def __init__(self, players: Mapping[str, Opener]) -> None:
        self._players = dict(players)
        self._first = next(iter(self._players))
        self._open: dict[str, SamplerSession] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def player(self, name: str = "") -> SamplerSession:
        """The session of a player, opened now if it was not.

        Raises:
            SamplerFailed: there is no such player.
        """
        name = name or self._first
        if name not in self._players:
            raise SamplerFailed("a request names a player that does not take part", seen=name,
                                expected=", ".join(self._players))  # fmt: skip
        if name not in self._open:
            self._open[name] = self._stack.enter_context(self._players[name]())
        return self._open[name]

    @property
    def policy(self) -> Policy:
        """The first player's."""
        return self.player().policy

    def submit(self, request: SampleRequest) -> None:
        """Queue a request with its player."""
        self.player(request.player).submit(request)

    def completions(self) -> Iterator[Completion]:
        """Completions until no player has any left to give."""
        answered = True
        while answered:
            answered = False
            for session in list(self._open.values()):
                for completion in session.completions():
                    answered = True
                    yield completion

    def score(self, requests: Sequence[ScoreRequest]) -> list[list[float]]:
        """Each player's log-probs of what it is asked; the first player's where none is named."""
        found: dict[int, list[float]] = {}
        for name in dict.fromkeys(request.player for request in requests):
            places = [place for place, request in enumerate(requests) if request.player == name]
            found.update(zip(places, self.player(name).score([requests[at] for at in places]), strict=True))
        return [found[place] for place in range(len(requests))]

    def publish(self, adapter: str, version: int, path: Path) -> None:
        """The first player's."""
        self.player().publish(adapter, version, path)

    def release(self, completion_id: str) -> None:
        """Told to all who are open: only one of them knows it."""
        for session in self._open.values():
            session.release(completion_id)

    def close(self) -> None:
        """Close every session that was opened."""
        self._open.clear()
        self._stack.close()
