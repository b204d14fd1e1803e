"""The `server` backend: any OpenAI-compatible HTTP endpoint (vLLM, SGLang, llama.cpp, a hosted API).

Requests run on an event loop in a thread of its own, at most `max_in_flight` at once. What may pass is tried again,
with growing, jittered waits; what may not comes back as an error completion. Servers take text and give text, so the
tokens of a record are this tokenizer's reading of it unless the server names its token ids; the note says which.
On a server the distribution is promised, not the bits: the seed is passed on, and servers treat it as they please.
"""

from __future__ import annotations

import asyncio
import os
import queue
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from tutelage.errors import SamplerFailed
from tutelage.records import Completion, Policy
from tutelage.sampling.completing import Drawn, completion_of, failed
from tutelage.sampling.server_protocol import RETRIED, Malformed, Wish, base_url, body_of, read_answer, wait_of
from tutelage.sampling.session import SampleRequest, ScoreRequest
from tutelage.text.prompts import tokenizer_digest

LONGEST_WAIT = 60.0
CONNECT_SECONDS = 10.0
LOOK_SECONDS = 1.0
"""How often a wait for answers looks whether the session was closed meanwhile."""


@dataclass(frozen=True)
class ServerDetails:
    """Further settings of a server session.

    Args:
        api_key_env: environment variable that holds the key, if the server wants one.
        extra_body: further fields of every request, e.g. {"return_token_ids": True} for vLLM.
        first_wait_seconds: wait before the first retry; it doubles from try to try, up to a minute.
        seed: of the jitter.
    """

    api_key_env: str = "OPENAI_API_KEY"
    extra_body: Mapping[str, Any] | None = None
    first_wait_seconds: float = 1.0
    seed: int = 0


class Try(NamedTuple):
    """What one try at a request gave."""

    drawn: Drawn | None = None
    trouble: str = ""
    wait: float | None = None
    """Seconds that the server asks to wait; None leaves it to us."""
    is_lost: bool = False
    """Nothing came back at all."""
    is_final: bool = False
    """Trying again is of no use."""


class ServerSampler:
    """A sampler session on an HTTP server.

    Args:
        url: its address, with or without `/v1`.
        tokenizer: tokenizer of the served model.
        policy: what the completions are said to come from.
        model: name of the model on the server; None takes the first that the server lists.
        max_in_flight: most requests open at once.
        timeout_seconds: how long one try may take, from sending it to its last byte.
        max_retries: tries after the first.
        api: "chat", "completions", or "auto" for chat where a request has messages.
        details: what seldom needs to be changed.

    Raises:
        SamplerFailed: the server cannot be reached, refuses the key, or names no model.
    """

    def __init__(
        self,
        url: str,
        tokenizer: Any,
        policy: Policy,
        *,
        model: str | None = None,
        max_in_flight: int = 32,
        timeout_seconds: float = 600.0,
        max_retries: int = 5,
        api: str = "auto",
        details: ServerDetails | None = None,
    ) -> None:
        details = details or ServerDetails()
        self.url, self.tokenizer, self._policy = base_url(url), tokenizer, policy
        self.tokenizer_digest = tokenizer_digest(tokenizer)
        self.max_in_flight, self.timeout_seconds, self.max_retries = max_in_flight, timeout_seconds, max_retries
        self._wish = Wish(api, extra=details.extra_body)
        self._key, self._key_env = os.environ.get(details.api_key_env), details.api_key_env
        self._first_wait, self._jitter = details.first_wait_seconds, random.Random(details.seed)
        self._served = {(policy.adapter, policy.version): self._first_contact(model)}
        self._answers: queue.Queue[Completion] = queue.Queue()
        self._outstanding = 0
        self._hopeless = ""
        self._lost = 0
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tutelage-server", daemon=True)
        self._thread.start()
        self._client, self._places = asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()

    async def _open(self) -> tuple[httpx.AsyncClient, asyncio.Semaphore]:
        limits = httpx.Limits(max_connections=self.max_in_flight, max_keepalive_connections=self.max_in_flight)
        timeout = httpx.Timeout(self.timeout_seconds, connect=min(CONNECT_SECONDS, self.timeout_seconds))
        client = httpx.AsyncClient(headers=self._headers(), limits=limits, timeout=timeout)
        return client, asyncio.Semaphore(self.max_in_flight)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key}"} if self._key else {}

    def _first_contact(self, model: str | None) -> str:
        """The name of the model to ask for; fails fast where no server answers."""
        try:
            reply = httpx.get(
                f"{self.url}/models", headers=self._headers(), timeout=min(CONNECT_SECONDS, self.timeout_seconds)
            )
        except (httpx.TransportError, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise SamplerFailed(
                "the server cannot be reached",
                seen=f"{self.url}: {type(error).__name__}: {error}",
                expected="an OpenAI-compatible HTTP server",
                advice="start the server, wait until it is up, and check the address",
            ) from error
        if reply.status_code in (401, 403):
            raise SamplerFailed(
                "the server refuses the key",
                seen=f"HTTP {reply.status_code}",
                expected=f"a valid key in the environment variable {self._key_env}",
                advice=f"export {self._key_env}=...",
            )
        if model is not None:
            return model
        try:
            return str(reply.json()["data"][0]["id"])
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise SamplerFailed(
                "the server names no model",
                seen=f"HTTP {reply.status_code} from {self.url}/models: {reply.text[:100]}",
                expected='{"data": [{"id": "..."}]}',
                advice="set server_model to the model's name",
            ) from error

    @property
    def policy(self) -> Policy:
        """As given."""
        return self._policy

    def submit(self, request: SampleRequest) -> None:
        """Send a request as soon as there is room. Raises SamplerFailed if the session is closed."""
        if self._closed:
            raise SamplerFailed("the sampler is closed", advice="open a new session")
        self._outstanding += 1
        model = self._served.get((request.adapter, request.version))
        if model is None:
            self._answers.put(self._failed(request, f"{request.adapter!r} version {request.version} is not published"))
            return
        asyncio.run_coroutine_threadsafe(self._serve(request, model), self._loop)

    def completions(self) -> Iterator[Completion]:
        """Completions as they arrive, until every submitted request is answered."""
        while self._outstanding and not self._closed:
            try:
                completion = self._answers.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                continue
            self._outstanding -= 1
            yield completion

    async def _serve(self, request: SampleRequest, model: str) -> None:
        """Answer one request, whatever happens."""
        try:
            async with self._places:
                completion = await self._answer(request, model)
        except Exception as error:  # the boundary of the thread: a lost request would be waited for without end
            completion = self._failed(request, f"{type(error).__name__}: {error}")
        self._answers.put(completion)

    async def _answer(self, request: SampleRequest, model: str) -> Completion:
        last = Try(trouble=self._hopeless)
        for attempt in range(0 if self._hopeless else self.max_retries + 1):
            last = await self._try(request, model)
            if last.drawn is not None:
                return completion_of(
                    request, last.drawn, model=self._policy.model, tokenizer_digest=self.tokenizer_digest
                )
            if last.is_final:
                break
            if attempt < self.max_retries:
                await asyncio.sleep(min(self._backoff(attempt) if last.wait is None else last.wait, LONGEST_WAIT))
        if last.is_lost:
            self._count_lost(last.trouble)
        return self._failed(request, last.trouble)

    async def _try(self, request: SampleRequest, model: str) -> Try:
        try:
            reply = await asyncio.wait_for(self._post(request, model), self.timeout_seconds)
        except (TimeoutError, httpx.TimeoutException):
            return Try(trouble=f"no answer within {self.timeout_seconds:g} s", is_lost=True)
        except httpx.TransportError as error:
            return Try(trouble=f"{type(error).__name__}: {error}", is_lost=True)
        self._lost = 0
        if reply.status_code == 200:
            try:
                return Try(read_answer(reply.json(), request, self.tokenizer))
            except (Malformed, ValueError) as error:
                return Try(trouble=f"malformed answer: {error}")
        trouble = f"HTTP {reply.status_code}: {reply.text[:200]}"
        if reply.status_code == 400 and "logprob" in reply.text and self._wish.with_logprobs:
            self._wish = Wish(self._wish.api, False, self._wish.extra)
            return Try(trouble=trouble, wait=0.0)
        is_passing = reply.status_code in RETRIED or reply.status_code >= 500
        return Try(
            trouble=trouble, wait=wait_of(reply.headers.get("Retry-After"), time.time()), is_final=not is_passing
        )

    async def _post(self, request: SampleRequest, model: str) -> httpx.Response:
        path, body = body_of(request, model, self._wish, self.tokenizer)
        return await self._client.post(f"{self.url}/{path}", json=body)

    def _backoff(self, attempt: int) -> float:
        return self._first_wait * 2.0**attempt * self._jitter.uniform(0.5, 1.5)

    def _count_lost(self, trouble: str) -> None:
        """After as many losses in a row as requests in flight, the server is taken for gone."""
        self._lost += 1
        if self._lost >= max(8, self.max_in_flight) and not self._hopeless:
            self._hopeless = f"the server stopped answering: {trouble}"

    def _failed(self, request: SampleRequest, note: str) -> Completion:
        return failed(request, note, model=self._policy.model, tokenizer_digest=self.tokenizer_digest)

    def score(self, requests: Sequence[ScoreRequest]) -> list[list[float]]:
        """Not possible over this protocol. Raises SamplerFailed."""
        raise SamplerFailed("a server cannot score given tokens", advice="use sampler=local for this")

    def publish(self, adapter: str, version: int, path: Path) -> None:
        """Have the server load a LoRA adapter; `path` must lie where the server can read it.

        Raises:
            SamplerFailed: the server cannot take new weights.
        """
        if not adapter:
            raise SamplerFailed(
                "a server cannot take new weights of the whole model",
                seen=f"version {version} from {path}",
                expected="a LoRA adapter, on a server that loads them while running (vLLM)",
                advice="set lora_rank, or use sampler=local",
            )
        name = f"{adapter}-{version}"
        try:
            reply = httpx.post(
                f"{self.url}/load_lora_adapter",
                json={"lora_name": name, "lora_path": str(path)},
                headers=self._headers(),
                timeout=self.timeout_seconds,
            )
        except httpx.TransportError as error:
            raise SamplerFailed("the server cannot be reached", seen=f"{type(error).__name__}: {error}") from error
        if reply.status_code != 200:
            raise SamplerFailed(
                "the server does not load LoRA adapters",
                seen=f"HTTP {reply.status_code}: {reply.text[:100]}",
                expected="POST /v1/load_lora_adapter, as vLLM has it",
                advice="start vLLM with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, or use sampler=local",
            )
        self._served = {k: v for k, v in self._served.items() if k[0] != adapter} | {(adapter, version): name}

    def release(self, completion_id: str) -> None:
        """Nothing to do: the server keeps its own cache."""

    def close(self) -> None:
        """Stop; requests in flight are abandoned."""
        if self._closed:
            return
        self._closed = True
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(timeout=CONNECT_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=CONNECT_SECONDS)

    async def _shut(self) -> None:
        tasks = [t for t in asyncio.all_tasks(self._loop) if t is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.aclose()
