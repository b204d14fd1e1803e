"""Routing: each player answers what it is asked, is opened only then, and is closed in the end."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from tutelage.errors import SamplerFailed
from tutelage.records import Completion, SamplingParams
from tutelage.sampling.completing import Drawn, completion_of
from tutelage.sampling.flows import drive
from tutelage.sampling.routing import RoutedSession
from tutelage.sampling.session import SampleRequest, ScoreRequest


class Named:
    """A session whose completions carry its name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting: list[SampleRequest] = []

    def submit(self, request: SampleRequest) -> None:
        self.waiting.append(request)

    def completions(self) -> Iterator[Completion]:
        while self.waiting:
            drawn = Drawn([1], [-1.0], self.name, "stop")
            yield completion_of(self.waiting.pop(), drawn, model=self.name, tokenizer_digest="d")


@pytest.fixture
def events() -> list[str]:
    return []


@pytest.fixture
def opener(events: list[str]) -> Callable[[str], Callable[[], AbstractContextManager[Any]]]:
    def make(name: str) -> Callable[[], AbstractContextManager[Any]]:
        @contextmanager
        def opened() -> Iterator[Named]:
            events.append(f"open {name}")
            yield Named(name)
            events.append(f"close {name}")

        return opened

    return make


def ask(name: str, player: str) -> SampleRequest:
    return SampleRequest(name, "p", (1,), SamplingParams(), 0, player=player)


def talk(key: int) -> Generator[Any, Any, list[str]]:
    """The actor, the critic, the actor again, and whoever comes first."""
    said = []
    for turn, player in enumerate(("actor", "critic", "actor", "")):
        said.append((yield ask(f"{key}.{turn}", player)).text)
    return said


def test_each_request_reaches_its_player(opener: Any, events: list[str]) -> None:
    with RoutedSession({name: opener(name) for name in ("actor", "critic", "idle")}) as session:
        results = dict(drive([talk(key) for key in range(50)], session))
    assert results == {key: ["actor", "critic", "actor", "actor"] for key in range(50)}
    assert events == ["open actor", "open critic", "close critic", "close actor"]


def test_an_unknown_player_is_named(opener: Any) -> None:
    with RoutedSession({"actor": opener("actor")}) as session, pytest.raises(SamplerFailed, match="judge"):
        session.submit(ask("1", "judge"))


def test_each_player_scores_what_it_is_asked(opener: Any) -> None:
    with RoutedSession({name: opener(name) for name in ("actor", "stop")}) as session:
        asked: list[tuple[str, int]] = []
        for name in ("actor", "stop"):
            player = session.player(name)
            player.score = lambda requests, name=name: [  # type: ignore[method-assign]
                asked.append((name, len(requests))) or [float(len(r.token_ids))] for r in requests
            ]
        requests = [ScoreRequest((1,), (2,) * n, player=player) for n, player in ((1, "stop"), (2, ""), (3, "stop"))]
        assert session.score(requests) == [[1.0], [2.0], [3.0]]
    assert sorted(asked) == [("actor", 1), ("stop", 2), ("stop", 2)]
