"""Live, best-effort news of what is going on: one union, many sinks.

Events are frozen and carry no state that anybody relies on: the command line,
NDJSON output and the TUI render the same union, other processes receive it over
Redis Pub/Sub. What must not be lost goes to the journal, never here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    correlation_id: str = ""
    at: float = Field(default_factory=time.time)
    """Seconds since the epoch."""


class Progress(_Event):
    """A job advanced: `done` of `total` (0 when unknown) of `unit`."""

    type: Literal["progress"] = "progress"
    job_id: str
    document_id: str = ""
    uri: str = ""
    stage: str
    done: int
    total: int = 0
    unit: str = ""


class JobState(_Event):
    """A job changed its state; `reason` and `hint` are set when it failed."""

    type: Literal["job"] = "job"
    job_id: str
    document_id: str = ""
    uri: str = ""
    state: Literal["queued", "running", "done", "failed", "quarantined"]
    reason: str = ""
    hint: str = ""
    chunks: int = 0
    pages: int = 0


class StepStarted(_Event):
    """An agent began a step."""

    type: Literal["step_started"] = "step_started"
    agent: str


class StepEnded(_Event):
    """An agent finished a step."""

    type: Literal["step_ended"] = "step_ended"
    agent: str
    summary: str
    took_ms: int
    failed: bool = False


class Tokens(_Event):
    """The model wrote `count` tokens so far. Drives spinners; never shown as text."""

    type: Literal["tokens"] = "tokens"
    count: int


class Sentence(_Event):
    """A verified sentence of an answer, with the numbers of its citations."""

    type: Literal["sentence"] = "sentence"
    text: str
    citations: tuple[int, ...] = ()


class CitationMade(_Event):
    """Citation `n` was used for the first time."""

    type: Literal["citation"] = "citation"
    n: int
    title: str
    uri: str
    page: int
    locator: str
    quote: str


class ServiceChanged(_Event):
    """A service was seen in a (new) state."""

    type: Literal["service"] = "service"
    name: str
    role: str
    state: Literal["up", "starting", "degraded", "down"]
    detail: str = ""


class Trouble(_Event):
    """Something went wrong, but the work goes on."""

    type: Literal["error"] = "error"
    code: str
    message: str
    hint: str = ""


Event = Annotated[
    Progress
    | JobState
    | StepStarted
    | StepEnded
    | Tokens
    | Sentence
    | CitationMade
    | ServiceChanged
    | Trouble,
    Field(discriminator="type"),
]

Sink = Callable[[Event], None]
"""Where events go. A sink never blocks for long and never raises."""

_event: TypeAdapter[Event] = TypeAdapter(Event)


def ignore(event: Event) -> None:
    """A sink for callers that want no news."""


def from_json(line: str | bytes) -> Event | None:
    """Given one serialised event, return it, or None if it is not one we know."""
    try:
        return _event.validate_json(line)
    except ValidationError:
        return None
