"""The server backend, against a stub on this machine."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tutelage.errors import SamplerFailed
from tutelage.records import Policy
from tutelage.sampling.server import ServerDetails, ServerSampler
from tutelage.sampling.server_protocol import Malformed, base_url, read_answer, wait_of
from tutelage.sampling.session import SamplerSession, ScoreRequest

POLICY = Policy("served")


class Stub:
    """A server whose answers a function chooses: body -> (status, headers, text or dict)."""

    def __init__(self) -> None:
        self.answer: Callable[[dict[str, Any]], tuple[int, dict[str, str], Any]] = lambda body: (200, {}, said("ok"))
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.keys: list[str | None] = []
        self.open = self.most = 0
        self.lock = threading.Lock()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                self.reply(200, {}, {"data": [{"id": "first-model"}]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with stub.lock:
                    stub.bodies.append(body)
                    stub.paths.append(self.path)
                    stub.keys.append(self.headers.get("Authorization"))
                    stub.open += 1
                    stub.most = max(stub.most, stub.open)
                try:
                    status, headers, content = stub.answer(body)
                finally:
                    with stub.lock:
                        stub.open -= 1
                self.reply(status, headers, content)

            def reply(self, status: int, headers: dict[str, str], content: Any) -> None:
                data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                pass

        self.server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


def said(text: Any, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"text": text, "finish_reason": "stop", **fields}]}


@pytest.fixture
def stub() -> Iterator[Stub]:
    made = Stub()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def connect(stub: Stub, load: Any) -> Iterator[Callable[..., ServerSampler]]:
    made: list[ServerSampler] = []

    def make(**kwargs: Any) -> ServerSampler:
        kwargs.setdefault("details", ServerDetails(first_wait_seconds=0.01))
        made.append(ServerSampler(stub.url, load("llama")[1], kwargs.pop("policy", POLICY), **kwargs))
        return made[-1]

    yield make
    for session in made:
        session.close()


def test_every_request_is_answered_within_the_bound(stub: Stub, connect: Any, helpers: Any, load: Any) -> None:
    def answer(body: dict[str, Any]) -> Any:
        time.sleep(0.005)
        return 200, {}, said(f"text {body['seed']}")

    stub.answer = answer
    session = connect(max_in_flight=4)
    requests = [helpers.ask(f"p.{i}", (20, 21), seed=i, index=i) for i in range(40)]
    found = helpers.answers(session, requests)
    assert {i: c.text for i, c in found.items()} == {f"p.{i}": f"text {i}" for i in range(40)}
    assert 2 <= stub.most <= 4
    one, tokenizer = found["p.3"], load("llama")[1]
    assert one.token_ids == (*tokenizer.encode("text 3", add_special_tokens=False), tokenizer.eos_token_id)
    assert "tokenized again" in one.note and one.policy == POLICY
    assert isinstance(session, SamplerSession)


def test_bodies_say_what_the_request_says(stub: Stub, connect: Any, helpers: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    details = ServerDetails(api_key_env="MY_KEY", extra_body={"return_token_ids": True}, first_wait_seconds=0.01)
    session = connect(model="given", details=details)
    helpers.answers(session, [helpers.ask("p.0", (20,), seed=2**40 + 5, prompt_text="Q:", temperature=0.5, top_p=0.9,
                                          top_k=4, max_new_tokens=7, stop=("X",))])  # fmt: skip
    body = stub.bodies[0]
    assert stub.paths == ["/v1/completions"] and stub.keys == ["Bearer secret"]
    assert (body["model"], body["prompt"], body["max_tokens"], body["stop"]) == ("given", "Q:", 7, ["X"])
    assert (body["temperature"], body["top_p"], body["top_k"], body["return_token_ids"]) == (0.5, 0.9, 4, True)
    assert 0 <= body["seed"] < 2**31
    chat = ({"role": "user", "content": "hi"},)
    stub.answer = lambda b: (200, {}, {"choices": [{"message": {"content": "yo"}, "finish_reason": "length"}]})
    found = helpers.answers(session, [helpers.ask("p.1", (20,), messages=chat)])["p.1"]
    assert stub.paths[-1] == "/v1/chat/completions" and stub.bodies[-1]["messages"] == list(chat)
    assert (found.text, found.finish_reason) == ("yo", "length")


@pytest.mark.parametrize("first", [(429, {"Retry-After": "0"}, "slow down"), (503, {}, "busy"), (200, {}, "{not json"),
                                   (200, {}, {"choices": []}), (200, {}, said(7))])  # fmt: skip
def test_what_may_pass_is_tried_again(first: Any, stub: Stub, connect: Any, helpers: Any) -> None:
    stub.answer = lambda body: first if len(stub.bodies) < 3 else (200, {}, said("late"))
    found = helpers.answers(connect(), [helpers.ask("p.0", (20,))])["p.0"]
    assert found.text == "late" and len(stub.bodies) == 3


@pytest.mark.parametrize("answer, tries, words", [((500, {}, "broken"), 3, "HTTP 500: broken"),
                                                  ((400, {}, "bad request"), 1, "HTTP 400"),
                                                  ((401, {}, "who are you"), 1, "HTTP 401"),
                                                  ((200, {}, "[]"), 3, "malformed")])  # fmt: skip
def test_what_does_not_pass_is_an_error(
    answer: Any, tries: int, words: str, stub: Stub, connect: Any, helpers: Any
) -> None:
    stub.answer = lambda body: answer
    found = helpers.answers(connect(max_retries=2), [helpers.ask("p.0", (20,))])["p.0"]
    assert found.finish_reason == "error" and words in found.note and len(stub.bodies) == tries


def test_a_server_that_hangs_is_not_waited_for(stub: Stub, connect: Any, helpers: Any) -> None:
    release = threading.Event()
    stub.answer = lambda body: (release.wait(5), (200, {}, said("late")))[1]
    start = time.monotonic()
    found = helpers.answers(connect(timeout_seconds=0.2, max_retries=1), [helpers.ask("p.0", (20,))])["p.0"]
    release.set()
    assert found.finish_reason == "error" and "no answer within 0.2 s" in found.note
    assert time.monotonic() - start < 3


def test_a_server_that_went_away_is_given_up(stub: Stub, connect: Any, helpers: Any) -> None:
    session = connect(max_in_flight=2, max_retries=0)
    stub.server.shutdown()
    stub.server.server_close()
    found = helpers.answers(session, [helpers.ask(f"p.{i}", (20,), index=i) for i in range(30)])
    assert all(c.finish_reason == "error" for c in found.values())
    assert any("stopped answering" in c.note for c in found.values())


def test_no_server_fails_at_once(load: Any) -> None:
    start = time.monotonic()
    with pytest.raises(SamplerFailed, match="cannot be reached"):
        ServerSampler("http://127.0.0.1:9", load("llama")[1], POLICY)
    assert time.monotonic() - start < 5


def test_logprobs_that_a_server_refuses_are_no_longer_asked_for(stub: Stub, connect: Any, helpers: Any) -> None:
    stub.answer = lambda body: (400, {}, "logprobs not supported") if "logprobs" in body else (200, {}, said("fine"))
    session = connect()
    assert helpers.answers(session, [helpers.ask("p.0", (20,))])["p.0"].text == "fine"
    assert helpers.answers(session, [helpers.ask("p.1", (20,))])["p.1"].text == "fine"
    assert ["logprobs" in b for b in stub.bodies] == [True, False, False]


def test_closing_abandons_requests_in_flight(stub: Stub, connect: Any, helpers: Any) -> None:
    release = threading.Event()
    stub.answer = lambda body: (release.wait(5), (200, {}, said("late")))[1]
    session = connect()
    session.submit(helpers.ask("p.0", (20,)))
    time.sleep(0.05)
    start = time.monotonic()
    session.close()
    release.set()
    assert time.monotonic() - start < 2 and list(session.completions()) == []
    with pytest.raises(SamplerFailed):
        session.submit(helpers.ask("p.1", (20,)))


def test_adapters_are_loaded_where_the_server_can(stub: Stub, connect: Any, helpers: Any) -> None:
    session = connect(policy=Policy("served", "answer", 0))
    session.publish("answer", 1, Path("/weights"))
    assert stub.bodies[-1] == {"lora_name": "answer-1", "lora_path": "/weights"}
    requests = [helpers.ask("p.0", (20,), adapter="answer", version=1), helpers.ask("p.1", (20,), adapter="answer")]
    found = helpers.answers(session, requests)
    assert stub.bodies[-1]["model"] == "answer-1"
    assert found["p.0"].policy == Policy("served", "answer", 1)
    assert found["p.1"].finish_reason == "error" and "not published" in found["p.1"].note
    stub.answer = lambda body: (404, {}, "no such route")
    with pytest.raises(SamplerFailed, match="does not load LoRA"):
        session.publish("answer", 2, Path("/weights"))
    with pytest.raises(SamplerFailed, match="whole model"):
        session.publish("", 2, Path("/weights"))
    with pytest.raises(SamplerFailed):
        session.score([ScoreRequest((1,), (2,))])


def test_token_ids_and_logprobs_are_taken_where_they_fit(load: Any, helpers: Any) -> None:
    tokenizer = load("llama")[1]
    request = helpers.ask("p.0", (20,))
    ids = tokenizer.encode("abc", add_special_tokens=False)
    given = {"tokens": ["a", "b", "c"], "token_logprobs": [-0.1, -0.2, -0.3]}
    drawn = read_answer(said("abc", logprobs=given), request, tokenizer)
    assert drawn.token_logprobs == [-0.1, -0.2, -0.3, 0.0] and "unknown" not in drawn.note
    other = {"tokens": ["ab", "c", "!"], "token_logprobs": [-0.1, -0.2, -0.3]}
    assert "log-probs unknown" in read_answer(said("abc", logprobs=other), request, tokenizer).note
    exact = read_answer(said("abc", token_ids=[*ids, 2]), request, tokenizer)
    assert exact.token_ids == [*ids, 2] and "tokenized again" not in exact.note
    chat = {"content": [{"token": t, "logprob": -1.0} for t in "abc"]}
    assert read_answer(said("abc", logprobs=chat), request, tokenizer).token_logprobs == [-1.0, -1.0, -1.0, 0.0]
    broken = {"tokens": ["a", "b", "c"], "token_logprobs": [None, -0.2, -0.3]}
    assert read_answer(said("abc", logprobs=broken), request, tokenizer).token_logprobs == [0.0] * 4


@pytest.mark.parametrize(
    "fields, params, text, reason",
    [
        ({"stop_reason": "#"}, {"pause": ("#",)}, "ab#", "pause"),
        ({"stop_reason": None}, {"pause": ("#",)}, "ab", "stop"),
        ({"stop_reason": "X"}, {"pause": ("#",), "stop": ("X",)}, "abX", "stop"),
        ({"text": "ab#cd"}, {"pause": ("#",)}, "ab#", "pause"),
        ({}, {"stop": ("#",)}, "ab", "stop"),
    ],
)
def test_stop_texts_are_put_back(
    fields: dict[str, Any], params: dict[str, Any], text: str, reason: str, load: Any, helpers: Any
) -> None:
    drawn = read_answer(said(fields.pop("text", "ab"), **fields), helpers.ask("p.0", (20,), **params), load("llama")[1])
    assert (drawn.text, drawn.finish_reason) == (text, reason)


@pytest.mark.parametrize("reason", ["abort", "content_filter"])
def test_a_text_that_the_server_cut_off_is_no_sample(reason: str, load: Any, helpers: Any) -> None:
    with pytest.raises(Malformed, match=reason):
        read_answer(said("half an ans", finish_reason=reason), helpers.ask("p.0", (20,)), load("llama")[1])


def test_closing_ends_a_wait_for_answers(stub: Stub, connect: Any, helpers: Any) -> None:
    release = threading.Event()
    stub.answer = lambda body: (release.wait(20), (200, {}, said("late")))[1]
    session = connect()
    session.submit(helpers.ask("p.0", (20,)))
    found: list[Any] = []
    waiting = threading.Thread(target=lambda: found.extend(session.completions()))
    waiting.start()
    session.close()
    waiting.join(timeout=15)
    release.set()
    assert not waiting.is_alive() and found == []


def test_a_pause_that_cannot_be_told_from_an_end_is_refused(load: Any, helpers: Any) -> None:
    with pytest.raises(Malformed, match="pause"):
        read_answer(said("ab"), helpers.ask("p.0", (20,), pause=("#",)), load("llama")[1])


@pytest.mark.parametrize("url, expected", [("localhost:8000", "http://localhost:8000/v1"),
                                           ("https://a.b/v1/", "https://a.b/v1"),
                                           ("http://a/v1/chat/completions", "http://a/v1")])  # fmt: skip
def test_addresses(url: str, expected: str) -> None:
    assert base_url(url) == expected


@pytest.mark.parametrize("header, expected", [("3", 3.0), ("-1", 0.0), ("soon", None), (None, None),
                                              ("Thu, 01 Jan 1970 00:01:40 GMT", 40.0)])  # fmt: skip
def test_retry_after(header: str | None, expected: float | None) -> None:
    assert wait_of(header, now=60.0) == expected
