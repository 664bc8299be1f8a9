"""Events: each survives the journey to another process, and none hurts a listener."""

from __future__ import annotations

import json
import time
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from janus_core import events
from janus_core.events import Event, Progress, from_json, ignore
from janus_core.stores.redis import LiveEvents

SAMPLES: dict[str, Any] = {
    "str": "text with ö, \u202e and \x1b[31m\n",
    "int": 7,
    "float": 1.25,
    "bool": True,
    "tuple[int, ...]": (1, 2),
}


def kinds() -> list[type[Any]]:
    return list(get_args(get_args(Event)[0]))


def sample(kind: type[Any]) -> Any:
    """An event of this kind with no field at its default."""
    values = {}
    for name, field in kind.model_fields.items():
        choices = get_args(field.annotation)
        if field.annotation is not None and choices and name != "citations":
            values[name] = choices[-1]
        else:
            annotation = field.annotation
            key = annotation.__name__ if isinstance(annotation, type) else str(annotation)
            values[name] = SAMPLES["tuple[int, ...]" if "tuple" in str(annotation) else key]
    return kind(**values)


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_every_event_comes_back_as_it_was(kind: type[Any]) -> None:
    event = sample(kind)

    line = event.model_dump_json()

    assert from_json(line) == event
    assert from_json(line.encode()) == event
    assert type(from_json(line)) is kind
    assert "\n" not in line, "one line each, for NDJSON"
    assert json.loads(line)["type"] == event.type


def test_the_union_is_whole_and_its_types_differ() -> None:
    defined = {
        value
        for value in vars(events).values()
        if isinstance(value, type) and "type" in getattr(value, "model_fields", {})
    }
    assert set(kinds()) == defined
    assert len({sample(kind).type for kind in kinds()}) == len(kinds())


@pytest.mark.parametrize(
    "line", ["", "null", "[]", "{}", '{"type": "unheard"}', '{"type": "progress"}', b"\xff", "{"]
)
def test_what_is_no_event_is_none(line: str | bytes) -> None:
    assert from_json(line) is None


def test_an_event_of_a_newer_janus_is_understood_as_far_as_it_goes() -> None:
    line = json.loads(sample(Progress).model_dump_json()) | {"speed": 9}

    assert from_json(json.dumps(line)) == sample(Progress)


def test_events_do_not_change() -> None:
    with pytest.raises(ValidationError):
        sample(Progress).done = 2


def test_nobody_has_to_listen() -> None:
    ignore(sample(Progress))


def test_publishing_to_nobody_costs_nothing_and_never_raises() -> None:
    live = LiveEvents("redis+unix://:p@/nowhere/cache.sock?db=0")
    begun = time.monotonic()

    live.publish(Progress(job_id="j", stage="s", done=1, uri="\udcff"))
    for _ in range(1000):
        live.publish(sample(Progress))

    assert time.monotonic() - begun < 2
    live.close()
    live.close()
