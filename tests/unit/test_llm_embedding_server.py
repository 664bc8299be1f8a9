"""The embedding server's order of work and its wire, with a model that needs no weights."""

import os
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from janus_core.errors import ModelUnavailable
from janus_core.llm import wire
from janus_core.llm.embedding import MAX_BATCH_TEXTS, plan_batches
from janus_core.llm.embedding_scheduler import Request, Scheduler
from janus_core.llm.embedding_server import EmbeddingServer
from janus_core.llm.shared_embedder import _split


class Lengths:
    """Embeds a text as (its length, 0) and remembers each batch."""

    name, dim, max_tokens, batch_tokens, device = "lengths", 2, 256, 256, "cpu"

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.on_batch: Any = lambda: None

    def prepare(self, texts: Sequence[str], kind: str) -> list[str]:
        return list(texts)

    def embed_batch(self, texts: Sequence[str]) -> Any:
        self.batches.append(list(texts))
        self.on_batch()
        if "boom" in texts:
            raise ModelUnavailable("boom", "no hint")
        return np.array([[len(text), 0.0] for text in texts], dtype=np.float32)


def request(*texts: str, query: bool = False, alone: bool = False) -> Request:
    return Request(list(texts), query, alone)


def lengths(done: Request) -> list[int]:
    return [int(np.frombuffer(row, "<f4")[0]) for row in done.rows]


def test_requests_of_several_clients_share_batches_and_keep_their_order() -> None:
    model = Lengths()
    scheduler = Scheduler(model)
    first, second = request("aaaa", "a", "aaa"), request("bb", "bbbbb")
    scheduler.submit(first)
    scheduler.submit(second)
    scheduler.run_once()
    assert [sorted(batch) for batch in model.batches] == [["a", "aaa", "aaaa", "bb", "bbbbb"]]
    assert lengths(first) == [4, 1, 3]
    assert lengths(second) == [2, 5]
    assert first.done.is_set()
    assert second.done.is_set()


def test_a_question_waits_for_one_batch_only() -> None:
    model = Lengths()
    scheduler = Scheduler(model)
    scheduler.submit(request(*["x" * 900] * 5))  # a batch each
    question = request("which?", query=True)

    def ask() -> None:
        model.on_batch = lambda: None
        scheduler.submit(question)

    model.on_batch = ask
    scheduler.run_once()
    assert [batch[0][0] for batch in model.batches] == ["x", "w", "x", "x", "x", "x"]


def test_what_was_asked_again_after_a_crash_runs_alone() -> None:
    model = Lengths()
    scheduler = Scheduler(model)
    for each in (request("a"), request("suspect", alone=True), request("b")):
        scheduler.submit(each)
    for _ in range(3):
        scheduler.run_once()
    assert model.batches == [["a"], ["suspect"], ["b"]]


def test_an_error_reaches_those_in_the_batch_and_nobody_else() -> None:
    scheduler = Scheduler(Lengths())
    bad, good = request("boom", alone=True), request("fine")
    scheduler.submit(bad)
    scheduler.submit(good)
    scheduler.run_once()
    scheduler.run_once()
    assert bad.error is not None
    assert good.error is None
    assert lengths(good) == [4]


def test_work_for_a_client_that_left_is_dropped() -> None:
    model = Lengths()
    scheduler = Scheduler(model)
    left = request("a")
    left.dropped = True
    scheduler.submit(left)
    scheduler.run_once()
    assert model.batches == []


@given(st.lists(st.text(max_size=3000), max_size=60), st.sampled_from([64, 256, 4096]))
def test_batches_hold_each_text_once_within_the_budget(texts: list[str], budget: int) -> None:
    batches = plan_batches(texts, 256, budget)
    assert sorted(place for batch in batches for place in batch) == list(range(len(texts)))
    for batch in batches:
        longest = max(min(len(texts[place].encode()) // 4 + 2, 256) for place in batch)
        assert len(batch) == 1 or len(batch) * longest <= budget
        assert len(batch) <= MAX_BATCH_TEXTS


@given(st.lists(st.integers(0, 400_000), max_size=300))
def test_messages_stay_within_the_limits(sizes: list[int]) -> None:
    messages = _split([_Sized(size) for size in sizes])  # type: ignore[misc]
    assert sorted(place for message in messages for place in message) == list(range(len(sizes)))
    for message in messages:
        assert len(message) <= wire.MAX_TEXTS
        assert sum(sizes[place] for place in message) * 12 <= wire.MAX_HEADER


class _Sized(str):
    """A text of a length, without its characters."""

    def __new__(cls, size: int) -> "_Sized":
        made = super().__new__(cls)
        made.size = size  # type: ignore[attr-defined]
        return made

    def __len__(self) -> int:
        return self.size  # type: ignore[attr-defined, no-any-return]


@pytest.fixture
def pair() -> Any:
    ours, theirs = socket.socketpair()
    ours.settimeout(5)
    theirs.settimeout(5)
    yield ours, theirs
    ours.close()
    theirs.close()


def test_frames_carry_text_and_bytes(pair: Any) -> None:
    ours, theirs = pair
    wire.send_frame(ours, {"texts": ["grün \x00 \U0001f600"]}, b"\x01\x02")
    assert wire.receive_frame(theirs) == ({"texts": ["grün \x00 \U0001f600"]}, b"\x01\x02")


@pytest.mark.parametrize(
    "sent",
    [
        b"\xff" * 8,
        b"\x02\0\0\0\0\0\0\0[]",
        b"\x03\0\0\0\0\0\0\0{]}",
        b"\x02\0\0\0\xff\xff\xff\xff{}",
    ],
)
def test_what_is_no_frame_is_refused(pair: Any, sent: bytes) -> None:
    pair[0].sendall(sent)
    with pytest.raises(wire.BadFrameError):
        wire.receive_frame(pair[1])


def test_an_end_is_seen_without_waiting(pair: Any) -> None:
    ours, theirs = pair
    began = time.monotonic()
    assert not wire.has_ended(theirs)
    ours.close()
    assert wire.has_ended(theirs)
    assert time.monotonic() - began < 1
    with pytest.raises(ConnectionError):
        wire.receive_frame(theirs)


@pytest.fixture
def server(tmp_path: Path) -> Any:
    model = Lengths()
    path = tmp_path / "e.sock"
    served = EmbeddingServer(path, model, idle_seconds=1.0)
    thread = threading.Thread(target=served.serve)
    thread.start()
    yield path, model, thread
    path.unlink(missing_ok=True)
    thread.join(10)
    assert not thread.is_alive()


def connect(path: Path) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(5)
    peer.connect(str(path))
    return peer


@pytest.mark.parametrize(
    "bad",
    [
        {"op": "nothing"},
        {"op": "embed", "kind": "passage", "texts": "abc"},
        {"op": "embed", "kind": "passage", "texts": [1]},
        {"op": "embed", "kind": "other", "texts": ["a"]},
        {"op": "embed", "kind": "passage", "texts": ["a"] * (wire.MAX_TEXTS + 1)},
    ],
)
def test_a_bad_request_ends_its_own_connection_only(server: Any, bad: dict[str, Any]) -> None:
    with connect(server[0]) as rude, connect(server[0]) as polite:
        wire.send_frame(rude, bad)
        with pytest.raises(ConnectionError):
            wire.receive_frame(rude)
        wire.send_frame(polite, {"op": "embed", "kind": "passage", "texts": ["abc", ""]})
        header, payload = wire.receive_frame(polite)
    assert header == {"ok": True, "rows": 2, "dim": 2}
    assert np.frombuffer(payload, "<f4").tolist() == [3.0, 0.0, 0.0, 0.0]


def test_the_socket_is_private_and_goes_when_idle(server: Any) -> None:
    path, _, thread = server
    assert path.stat().st_mode & 0o777 == 0o600
    thread.join(10)
    assert not thread.is_alive()
    assert not path.exists()
    assert os.listdir(path.parent) == []


def test_a_server_that_nobody_can_find_ends(server: Any) -> None:
    path, _, thread = server
    path.unlink()
    thread.join(5)
    assert not thread.is_alive()
