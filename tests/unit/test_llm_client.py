"""The chat client against a server that misbehaves; scripted models; URLs and guards."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from janus_core.errors import BadConfiguration, ModelUnavailable
from janus_core.llm.base import Message, Piece
from janus_core.llm.client import Endpoint, HttpChatModel, Patience
from janus_core.llm.guard import VARIABLE
from janus_core.llm.scripted import ScriptedChatModel, open_script
from janus_core.llm.server import open_url

QUICK = Patience(connect=2, first_token=2, next_token=1)
PROMPT = [Message("system", "Be brief."), Message("user", "Name a colour.")]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter, dict[str, Any]], Awaitable[None]]


@contextlib.asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[str]:
    """A server on the loopback that reads one request and does with it what it is told."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            int(line.split(":")[1])
            for line in head.splitlines()
            if line.lower().startswith("content-length")
        )
        body = json.loads(await reader.readexactly(length))
        with contextlib.suppress(ConnectionError):
            await serve(reader, writer, {"head": head, "body": body})
        writer.close()

    listening = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def event(value: Any) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode()


def text(content: str) -> bytes:
    return event({"choices": [{"delta": {"content": content}}]})


async def collect(model: HttpChatModel, **options: Any) -> list[Piece]:
    return [piece async for piece in model.stream(PROMPT, max_tokens=9, **options)]


def ask(serve: Serve, *, patience: Patience = QUICK, **options: Any) -> list[Piece]:
    async def run() -> list[Piece]:
        async with server(serve) as url:
            model = HttpChatModel(url, "secret", "m", patience=patience)
            try:
                return await collect(model, **options)
            finally:
                await model.aclose()
                await model.aclose()

    return asyncio.run(run())


def test_a_stream_is_read_to_its_usage() -> None:
    seen: dict[str, Any] = {}

    async def serve(_: Any, writer: asyncio.StreamWriter, request: dict[str, Any]) -> None:
        seen.update(request)
        writer.write(HEAD + b": ping\n\n" + event({"choices": [{"delta": {"role": "assistant"}}]}))
        writer.write(text("Bl") + text("ue"))
        writer.write(event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}))
        writer.write(b"data: [DONE]\n\n")
        await writer.drain()

    schema = {"type": "object"}
    pieces = ask(serve, stop=["\n"], json_schema=schema)
    assert pieces == [Piece("Bl"), Piece("ue"), Piece("", 7, 2)]
    assert "authorization: bearer secret" in seen["head"].lower()
    body = seen["body"]
    assert body["messages"][1] == {"role": "user", "content": "Name a colour."}
    assert (body["max_tokens"], body["temperature"], body["stop"]) == (9, 0.0, ["\n"])
    assert body["response_format"]["json_schema"]["schema"] == schema


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", "refused the key"),
        (
            b'HTTP/1.1 400 Bad\r\nContent-Length: 53\r\n\r\n{"error":{"message":"exceeds '
            b'the context size 4096"}}  ',
            "too long",
        ),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nbang", "HTTP 500"),
        (b"nonsense", "cannot be reached"),
        (b"", "cannot be reached"),
        (HEAD + b"data: {broken\n\n", "no JSON"),
        (HEAD + event({"error": {"message": "out of memory"}}), "out of memory"),
        (HEAD + text("half an ans"), "in the middle"),
    ],
)
def test_what_goes_wrong_is_model_unavailable(answer: bytes, message: str) -> None:
    async def serve(_: Any, writer: asyncio.StreamWriter, __: Any) -> None:
        writer.write(answer)
        await writer.drain()

    with pytest.raises(ModelUnavailable) as caught:
        ask(serve)
    assert message in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("sent", [b"", HEAD, HEAD + text("one")])
def test_silence_ends_at_the_time_limit(sent: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: Any) -> None:
        writer.write(sent)
        for _ in range(50):  # a comment keeps the line alive, but is no token
            writer.write(b": ping\n\n" if sent else b"")
            await writer.drain()
            await asyncio.sleep(0.1)

    with pytest.raises(ModelUnavailable, match="said nothing"):
        ask(serve, patience=Patience(1, 0.5, 0.5))


def test_closing_the_stream_closes_the_connection() -> None:
    async def run() -> bool:
        left = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: Any) -> None:
            writer.write(HEAD + text("a"))
            await writer.drain()
            if await reader.read(1) == b"":
                left.set()

        async with server(serve) as url:
            model = HttpChatModel(url, "", "m")
            stream = model.stream(PROMPT, max_tokens=5)
            assert await anext(stream) == Piece("a")
            await stream.aclose()
            await asyncio.wait_for(left.wait(), 5)
            await model.aclose()
        return left.is_set()

    assert asyncio.run(run())


def test_a_restarted_server_is_found_again() -> None:
    async def serve(_: Any, writer: asyncio.StreamWriter, __: Any) -> None:
        writer.write(HEAD + text("ok") + b"data: [DONE]\n\n")
        await writer.drain()

    async def run() -> list[Piece]:
        async with server(serve) as url:
            model = HttpChatModel(
                "http://127.0.0.1:9/v1", "old", "m", locate=lambda: Endpoint(url, "new")
            )
            pieces = await collect(model)
            await model.aclose()
            return pieces

    assert asyncio.run(run())[0] == Piece("ok")


def test_a_server_that_is_nowhere_is_unavailable() -> None:
    async def run() -> None:
        model = HttpChatModel("http://127.0.0.1:9/v1", "", "m", locate=lambda: None)
        await collect(model)

    with pytest.raises(ModelUnavailable, match="cannot be reached"):
        asyncio.run(run())


def test_tests_cannot_reach_a_real_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "scripted")
    with pytest.raises(BadConfiguration):
        HttpChatModel("http://127.0.0.1:9/v1", "", "m")


def test_a_script_answers_only_where_it_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(BadConfiguration):
        ScriptedChatModel(["hello"])


def run_scripted(model: Any, **options: Any) -> list[Piece]:
    async def run() -> list[Piece]:
        return [piece async for piece in model.stream(PROMPT, **options)]

    return asyncio.run(run())


def test_a_script_answers_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "scripted")
    model = ScriptedChatModel(["one two three. rest", "four"])
    pieces = run_scripted(model, max_tokens=10, stop=["."])
    assert "".join(piece.text for piece in pieces) == "one two three"
    assert pieces[-1] == Piece("", 5, 3)
    assert [piece.text for piece in run_scripted(model, max_tokens=1)] == ["four", ""]
    assert model.prompts[0] == tuple(PROMPT)
    with pytest.raises(ModelUnavailable):
        run_scripted(model, max_tokens=1)


def test_a_script_file_is_a_model_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "scripted")
    script = tmp_path / "colours.json"
    script.write_text(json.dumps([{"when": "colour", "answer": "Blue."}]))
    model = open_url(f"scripted://{script}", "ignored")
    assert model.name == "colours"
    assert run_scripted(model, max_tokens=5)[0] == Piece("Blue.")
    script.write_text("{}")
    with pytest.raises(BadConfiguration):
        open_script(tmp_path / "missing.json")


def test_a_url_may_carry_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    model = open_url("https://k%40y@models.example:8443/api/v1/", "big")
    assert isinstance(model, HttpChatModel)
    assert model._endpoint == Endpoint("https://models.example:8443/api/v1", "k@y")
    plain = open_url("http://10.0.0.7:8080", "big")
    assert isinstance(plain, HttpChatModel)
    assert plain._endpoint == Endpoint("http://10.0.0.7:8080/v1", "")
    with pytest.raises(BadConfiguration):
        open_url("ftp://models.example", "big")
