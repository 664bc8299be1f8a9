"""A chat model behind any server that speaks OpenAI's API, ours or another."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from janus_core.errors import ModelUnavailable
from janus_core.llm.base import Message, Piece
from janus_core.llm.guard import require_real

if TYPE_CHECKING:
    import httpx


class Endpoint(NamedTuple):
    """Where a server listens and the key it wants."""

    base_url: str
    """Up to `/v1`."""
    api_key: str = ""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, in seconds."""

    connect: float = 5.0
    first_token: float = 600.0
    """A long prompt on a small machine, behind another one."""
    next_token: float = 90.0


class HttpChatModel:
    """A `ChatModel` over HTTP. One instance serves one event loop."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        name: str,
        *,
        patience: Patience = Patience(),
        locate: Callable[[], Endpoint | None] | None = None,
    ) -> None:
        """Given where the server is, connect to nothing yet.

        `locate` is asked when it cannot be reached there: a restarted server
        listens elsewhere. Raise BadConfiguration where real models are barred.
        """
        require_real()
        self._endpoint = Endpoint(base_url.rstrip("/"), api_key)
        self._name = name
        self._patience = patience
        self._locate = locate
        self._client: httpx.AsyncClient | None = None

    @property
    def name(self) -> str:
        """See `ChatModel`."""
        return self._name

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        stop: Sequence[str] = (),
        json_schema: Mapping[str, Any] | None = None,
    ) -> AsyncGenerator[Piece, None]:
        """See `ChatModel`."""
        body: dict[str, Any] = {
            "model": self._name,
            "messages": [{"role": each.role, "content": each.content} for each in messages],
            "max_tokens": max_tokens,
            "temperature": temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if stop:
            body["stop"] = list(stop)
        if json_schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": dict(json_schema), "strict": True},
            }
        response = await self._send(body)
        usage: Mapping[str, Any] = {}
        try:
            async for event in self._events(response):
                usage = event.get("usage") or usage
                for choice in event.get("choices", ())[:1]:
                    text = (choice.get("delta") or {}).get("content") or ""
                    if text:
                        yield Piece(text)
        finally:
            # Closing the connection in the middle of a stream frees the model's slot.
            await response.aclose()
        yield Piece("", int(usage.get("prompt_tokens", 0)), int(usage.get("completion_tokens", 0)))

    async def aclose(self) -> None:
        """See `ChatModel`."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _send(self, body: Mapping[str, Any]) -> httpx.Response:
        """Post the request and return the response once its head is there."""
        import httpx

        for is_second in (False, True):
            try:
                async with asyncio.timeout(self._patience.first_token):
                    response = await self._post(body)
                break
            except httpx.ConnectError as error:
                elsewhere = self._locate() if self._locate else None
                if is_second or elsewhere is None or elsewhere == self._endpoint:
                    raise _down(error) from error
                self._endpoint = elsewhere
            except TimeoutError as error:
                raise _stalled(self._patience.first_token) from error
            except httpx.HTTPError as error:
                raise _down(error) from error
        if response.status_code != 200:
            text = (await response.aread()).decode("utf-8", "replace")
            await response.aclose()
            raise _refused(response.status_code, text)
        return response

    async def _post(self, body: Mapping[str, Any]) -> httpx.Response:
        import httpx

        if self._client is None:
            # No proxy for our own loopback; others follow the environment as any program does.
            is_local = httpx.URL(self._endpoint.base_url).host in ("127.0.0.1", "localhost", "::1")
            self._client = httpx.AsyncClient(
                timeout=httpx.Timeout(None, connect=self._patience.connect),
                trust_env=not is_local,
            )
        headers = {}
        if self._endpoint.api_key:
            headers["Authorization"] = f"Bearer {self._endpoint.api_key}"
        request = self._client.build_request(
            "POST", f"{self._endpoint.base_url}/chat/completions", json=body, headers=headers
        )
        return await self._client.send(request, stream=True)

    async def _events(self, response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
        """Yield the stream's JSON events until `[DONE]`. Raise ModelUnavailable."""
        import httpx

        lines = response.aiter_lines()
        limit = self._patience.first_token
        try:
            while True:
                async with asyncio.timeout(limit):
                    event = await _next_event(lines)
                if event is None:
                    return
                if "error" in event:
                    raise _refused(200, json.dumps(event))
                limit = self._patience.next_token
                yield event
        except TimeoutError as error:
            raise _stalled(limit) from error
        except StopAsyncIteration as error:
            raise ModelUnavailable(
                "the model server ended in the middle of an answer", "Try again."
            ) from error
        except httpx.HTTPError as error:
            raise _down(error) from error


async def _next_event(lines: AsyncIterator[str]) -> dict[str, Any] | None:
    """Return the next event; None for `[DONE]`. Comments, which keep a line alive, do not count."""
    while True:
        line = await anext(lines)
        if not line.startswith("data:"):
            continue
        data = line[5:].strip()
        if data == "[DONE]":
            return None
        try:
            event = json.loads(data)
        except ValueError as error:
            raise ModelUnavailable("the model server sent no JSON", data[:200]) from error
        if isinstance(event, dict):
            return event


def _down(error: Exception) -> ModelUnavailable:
    reason = str(error) or type(error).__name__
    return ModelUnavailable(
        f"the model server cannot be reached: {reason}",
        "Look at `janus status` and `janus logs llm`; `janus up` starts it.",
    )


def _stalled(seconds: float) -> ModelUnavailable:
    return ModelUnavailable(
        f"the model server said nothing for {seconds:.0f} s",
        "The machine may be too busy, or the model too large for it.",
    )


def _refused(status: int, text: str) -> ModelUnavailable:
    try:
        error = json.loads(text)["error"]
        reason = str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        reason = text.strip()[:200] or f"HTTP {status}"
    if status in (401, 403):
        return ModelUnavailable(
            f"the model server refused the key: {reason}", "Check the key in chat.url."
        )
    if "context" in reason:
        return ModelUnavailable(
            f"the prompt is too long for the model: {reason}", "Raise chat.context."
        )
    return ModelUnavailable(
        f"the model server refused (HTTP {status}): {reason}", "See `janus logs llm`."
    )
