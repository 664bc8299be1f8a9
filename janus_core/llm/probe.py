"""Ask a chat engine how it goes: cheap, quick, with nothing but the standard library."""

from __future__ import annotations

import hashlib
import http.client
import json
from dataclasses import dataclass
from typing import Any

from janus_core.llm.engine import Running

_TIMEOUT = 2.0
_PATHS = {"xllamacpp": "/slots", "llama-cpp-python": "/progress"}


@dataclass(frozen=True, slots=True)
class Probe:
    """What an engine said of itself."""

    answers: bool
    busy: bool
    """Whether it works on a prompt now."""
    steps: str
    """Changes with each step of that work."""


def probe(running: Running, api_key: str) -> Probe:
    """Given a running engine, ask for its progress. One that is silent does not `answer`."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=_TIMEOUT)
    try:
        connection.request(
            "GET", _PATHS[running.engine], headers={"Authorization": f"Bearer {api_key}"}
        )
        response = connection.getresponse()
        text = response.read(1_000_000)
        if response.status != 200:
            return Probe(answers=False, busy=False, steps=f"HTTP {response.status}")
        state = json.loads(text)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Probe(answers=False, busy=False, steps=type(error).__name__)
    finally:
        connection.close()
    return Probe(answers=True, busy=_is_busy(state), steps=hashlib.sha256(text).hexdigest())


def _is_busy(state: Any) -> bool:
    if isinstance(state, list):  # xllamacpp: one entry a slot
        return any(isinstance(slot, dict) and slot.get("is_processing") for slot in state)
    return isinstance(state, dict) and bool(state.get("busy"))
