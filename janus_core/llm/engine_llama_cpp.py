"""The chat engine on llama-cpp-python: its `Llama` behind a small server of our own.

Not `llama_cpp.server`: a prompt that its client has given up runs on there, streams tell no
usage, and every web page may talk to it (docs/decisions/002).
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import os
import socket
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, MutableMapping, Sequence
from contextlib import aclosing, suppress
from typing import Any

from janus_core.llm.engine import Orders, announce, run_engine
from janus_core.llm.prompt_cache import PromptCache

log = logging.getLogger("janus.engine")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_MAX_BODY = 8 * 1024 * 1024
# With what they import only when first used, which the service user may not be able to read.
_LIBRARIES = (
    "concurrent.futures.thread",
    "encodings.idna",
    "encodings.unicode_escape",
    "jinja2.ext",
    "jinja2.sandbox",
    "llama_cpp",
    "llama_cpp.llama_chat_format",
    "uvicorn",
    "uvicorn.loops.asyncio",
    "uvicorn.lifespan.off",
    "uvicorn.protocols.http.h11_impl",
)


class CancelledError(Exception):
    """The client of the present answer is gone."""


class Generator:
    """The model, one answer at a time, that can be told to stop between two steps."""

    def __init__(self, orders: Orders) -> None:
        """Given orders, load the model. Raise ValueError or RuntimeError when that fails."""
        import llama_cpp

        generator = self
        llama: Any = llama_cpp.Llama

        class Stoppable(llama):  # type: ignore[misc]
            """Looks before each batch of the prompt and each token whether to go on."""

            def generate(self, tokens: Sequence[int], *args: Any, **kwargs: Any) -> Any:
                generator.known.switch(tokens)
                return super().generate(tokens, *args, **kwargs)

            def eval(self, tokens: Sequence[int]) -> None:
                for at in range(0, len(tokens), orders.batch):
                    generator.step()
                    super().eval(tokens[at : at + orders.batch])

            def sample(self, *args: Any, **kwargs: Any) -> Any:
                generator.count(self.n_tokens)
                return super().sample(*args, **kwargs)

        self._llama: Any = Stoppable(
            model_path=orders.model_path,
            n_ctx=orders.context,
            n_batch=orders.batch,
            n_ubatch=orders.batch,
            n_threads=orders.threads,
            n_threads_batch=orders.threads,
            n_gpu_layers=orders.gpu_layers,
            verbose=False,
        )
        self.known = PromptCache(self._llama, orders.cache_mib * 2**20)
        self._stopped = threading.Event()
        self.steps = 0
        """Batches and tokens worked on since the start: a watchdog sees it grow."""
        self.prompt_tokens = 0
        self.completion_tokens = 0

    def step(self) -> None:
        """Count a step of work. Raise CancelledError when nobody waits for it any more."""
        self.steps += 1
        if self._stopped.is_set():
            raise CancelledError

    def count(self, position: int) -> None:
        """Count a token about to be chosen at a position of the context."""
        if self.completion_tokens == 0:
            self.prompt_tokens = position
        self.completion_tokens += 1

    def begin(self) -> None:
        """Get ready for the next answer."""
        self._stopped.clear()
        self.prompt_tokens = self.completion_tokens = 0

    def stop(self) -> None:
        """Make the present answer end at its next step. From any thread."""
        self._stopped.set()

    def answer(self, body: MutableMapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Given a request, yield the chunks of OpenAI's stream. Raise ValueError if it is bad."""
        schema = _schema(body)
        most = body.get("max_completion_tokens", body.get("max_tokens"))
        yield from self._llama.create_chat_completion(
            messages=body["messages"],
            max_tokens=most,
            temperature=body.get("temperature", 0.2),
            top_p=body.get("top_p", 0.95),
            seed=body.get("seed"),
            stop=body.get("stop") or [],
            response_format={"type": "json_object", "schema": schema} if schema else None,
            stream=True,
        )


def _schema(body: MutableMapping[str, Any]) -> dict[str, Any] | None:
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        schema = wanted.get("json_schema", {}).get("schema")
    elif wanted.get("type") == "json_object":
        schema = wanted.get("schema", {"type": "object"})
    else:
        return None
    if not isinstance(schema, dict):
        raise ValueError("response_format holds no schema")
    return schema


class App:
    """The ASGI application: who may ask, in which order, and what when they leave."""

    def __init__(self, orders: Orders, generator: Generator) -> None:
        self._orders = orders
        self._generator = generator
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        route = (scope["method"], scope["path"])
        if route == ("GET", "/health"):
            await _reply(send, 200, {"status": "ok"})
        elif not self._knows_key(scope):
            await _reply(send, 401, _error("invalid API key"))
        elif route == ("GET", "/progress"):
            state = {"busy": self._waiting > 0, "steps": self._generator.steps}
            await _reply(send, 200, state)
        elif route == ("GET", "/v1/models"):
            model = {"id": self._orders.model, "object": "model", "owned_by": "janus"}
            await _reply(send, 200, {"object": "list", "data": [model]})
        elif route == ("POST", "/v1/chat/completions"):
            await self._chat(receive, send)
        else:
            await _reply(send, 404, _error("no such page"))

    def _knows_key(self, scope: Scope) -> bool:
        given = dict(scope["headers"]).get(b"authorization", b"")
        return hmac.compare_digest(given, f"Bearer {self._orders.api_key}".encode())

    async def _chat(self, receive: Receive, send: Send) -> None:
        try:
            body = json.loads(await _read_body(receive))
            if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
                raise ValueError("messages are missing")
        except ValueError as error:
            await _reply(send, 400, _error(str(error)))
            return
        self._waiting += 1
        watch = asyncio.create_task(_left(receive))
        try:
            serve = asyncio.create_task(self._serve(body, send))
            await asyncio.wait({watch, serve}, return_when=asyncio.FIRST_COMPLETED)
            if not serve.done():
                serve.cancel()
                log.info("a client left before its answer was complete")
            with suppress(asyncio.CancelledError):
                await serve
        finally:
            watch.cancel()
            self._waiting -= 1

    async def _serve(self, body: dict[str, Any], send: Send) -> None:
        async with self._turn, aclosing(self._chunks(body)) as chunks:
            stream = bool(body.get("stream"))
            texts: list[str] = []
            last: dict[str, Any] = {}
            started = False
            try:
                async for chunk in chunks:
                    last = chunk
                    if stream:
                        await _send_event(send, chunk, first=not started)
                        started = True
                    else:
                        texts.append(chunk["choices"][0]["delta"].get("content") or "")
            except (ValueError, KeyError, TypeError, RuntimeError) as error:
                if not started:
                    await _reply(send, 400, _error(str(error)))
                    return
                await _send_event(send, _error(str(error)), first=False)
            await self._finish(send, body, last, "".join(texts))

    async def _finish(
        self, send: Send, body: dict[str, Any], last: dict[str, Any], text: str
    ) -> None:
        generator = self._generator
        usage = {
            "prompt_tokens": generator.prompt_tokens,
            "completion_tokens": generator.completion_tokens,
            "total_tokens": generator.prompt_tokens + generator.completion_tokens,
        }
        if not body.get("stream"):
            message = {"role": "assistant", "content": text}
            reason = last["choices"][0]["finish_reason"]
            choice = {"index": 0, "message": message, "finish_reason": reason}
            whole = {"object": "chat.completion", "choices": [choice], "usage": usage}
            await _reply(send, 200, {**last, **whole})
            return
        if (body.get("stream_options") or {}).get("include_usage"):
            await _send_event(send, {**last, "choices": [], "usage": usage}, first=False)
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})

    async def _chunks(self, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Run the model in a thread and hand over its chunks; cancelled, wait for the thread."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[dict[str, Any] | BaseException | None] = asyncio.Queue()

        def put(item: dict[str, Any] | BaseException | None) -> None:
            loop.call_soon_threadsafe(queue.put_nowait, item)

        def work() -> None:
            try:
                for chunk in self._generator.answer(body):
                    put(chunk)
            except CancelledError:
                put(None)
            except Exception as error:  # noqa: BLE001 (handed to the coroutine that waits)
                put(error)
            else:
                put(None)

        self._generator.begin()
        working = loop.run_in_executor(None, work)
        try:
            while (item := await queue.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            self._generator.stop()
            await asyncio.shield(working)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read_body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ValueError("the client left")
        body += message.get("body", b"")
        if len(body) > _MAX_BODY:
            raise ValueError("the request is too long")
        if not message.get("more_body"):
            return bytes(body)


async def _reply(send: Send, status: int, value: dict[str, Any]) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(value).encode()})


async def _send_event(send: Send, value: dict[str, Any], *, first: bool) -> None:
    if first:
        headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
    event = f"data: {json.dumps(value)}\n\n".encode()
    await send({"type": "http.response.body", "body": event, "more_body": True})


def _error(text: str) -> dict[str, Any]:
    return {"error": {"message": text}}


def _serve(orders: Orders) -> None:
    import llama_cpp
    import uvicorn

    generator = Generator(orders)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    uses_gpu = orders.gpu_layers != 0 and llama_cpp.llama_supports_gpu_offload()
    config = uvicorn.Config(
        App(orders, generator),
        http="h11",
        loop="asyncio",
        lifespan="off",
        ws="none",
        log_level="warning",
        access_log=False,
    )
    server = uvicorn.Server(config)
    # The state file may say so now: the kernel already queues connections for the listener.
    announce(orders, listener.getsockname()[1], "gpu" if uses_gpu else "cpu")
    server.run(sockets=[listener])


if __name__ == "__main__":
    os._exit(run_engine(_LIBRARIES, _serve))
