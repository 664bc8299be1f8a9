"""What the chat server's launcher decides without an engine; GPUs; the cache of prompts."""

import itertools
import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from janus_core.errors import BadConfiguration, ModelUnavailable
from janus_core.llm import engine, server
from janus_core.llm.engine import Orders, Running, digest, read_running
from janus_core.llm.gpus import detect_gpus
from janus_core.llm.probe import Probe
from janus_core.llm.prompt_cache import PromptCache
from janus_core.llm.server import ChatServer, choose_engine
from janus_core.processes import identify

ORDERS = Orders(
    **{"engine": "xllamacpp", "model": "m", "model_path": "/m", "sha256": "0", "context": 64},
    **{"threads": 1, "batch": 8, "gpu": "auto", "gpu_layers": -1, "slots": 1, "cache_mib": 1},
    **{"api_key": "secret", "orders_file": "/o", "state_file": "/s"},  # type: ignore[arg-type]
)


def running(pid: int) -> Running:
    found = identify(pid)
    assert found is not None
    return Running(
        pid=pid,
        started=found.started,
        boot=found.boot,
        port=1,
        engine="xllamacpp",
        model="m",
        sha256="0",
        context=64,
        device="cpu",
        orders_digest="x",
    )


@pytest.fixture
def chat(tmp_path: Path) -> ChatServer:
    made = ChatServer(tmp_path / "models", "m", tmp_path / "run", tmp_path / "log")
    (tmp_path / "run").mkdir()
    return made


def announce(chat: ChatServer, found: Running) -> None:
    values = {name: getattr(found, name) for name in Running.__slots__}
    chat._state_file.write_text(json.dumps(values))


def test_orders_differ_by_what_was_asked_for_not_by_the_key_or_the_outcome() -> None:
    from dataclasses import replace

    assert digest(ORDERS) == digest(replace(ORDERS, api_key="other", gpu_layers=0))
    assert digest(ORDERS) != digest(replace(ORDERS, context=65))
    assert digest(ORDERS) != digest(replace(ORDERS, gpu="off"))


def test_a_process_that_only_has_the_pid_is_not_the_server(chat: ChatServer) -> None:
    found = running(os.getpid())
    announce(chat, found)
    assert chat.info() == found
    from dataclasses import replace

    announce(chat, replace(found, started=found.started - 1))
    assert chat.info() is None
    assert not chat.is_up()
    assert chat.endpoint() is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}', "null"])
def test_a_torn_state_file_counts_as_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "chat.json"
    path.write_text(content)
    assert read_running(path) is None


def test_a_stall_is_work_without_a_step(chat: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    announce(chat, running(os.getpid()))
    now, seen = [1000.0], [Probe(True, True, "step 1")]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(server, "probe", lambda *_: seen[0])
    assert chat.is_up()
    now[0] += 89
    assert chat.is_up()
    now[0] += 2
    assert not chat.is_up()
    seen[0] = Probe(True, True, "step 2")
    assert chat.is_up()
    now[0] += 91
    assert not chat.is_up()
    seen[0] = Probe(True, False, "step 2")
    assert chat.is_up()
    now[0] += 500
    assert chat.is_up()
    seen[0] = Probe(False, False, "TimeoutError")
    assert chat.is_up()
    now[0] += 91
    assert not chat.is_up()


def test_a_server_that_dies_again_and_again_is_restarted_ever_more_slowly(
    chat: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, starts = [50_000.0], []

    def start(_: ChatServer) -> Running:
        starts.append(now[0])
        raise ModelUnavailable("no", "no")

    monkeypatch.setattr(time, "time", lambda: now[0])
    monkeypatch.setattr(ChatServer, "start", start)
    assert chat.check() == "down"
    assert starts == []
    chat._orders_file.write_text('{"api_key": "k"}')
    for _ in range(1000):
        assert chat.check() == "failing"
        now[0] += 1
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert gaps[:4] == [2, 10, 60, 300]
    assert all(gap == 300 for gap in gaps[4:])
    now[0] += 10_000
    chat.check()
    chat.check()
    now[0] += 2
    chat.check()
    assert starts[-1] - starts[-2] == 2


def test_auto_takes_the_first_engine_that_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    here = {"xllamacpp", "llama_cpp"}
    monkeypatch.setattr(
        server.importlib.util, "find_spec", lambda name: SimpleNamespace() if name in here else None
    )
    assert choose_engine("auto") == "xllamacpp"
    here.add("uvicorn")
    assert choose_engine("auto") == "llama-cpp-python"
    here.clear()
    with pytest.raises(BadConfiguration, match="no chat engine"):
        choose_engine("auto")
    with pytest.raises(BadConfiguration, match="xllamacpp"):
        choose_engine("xllamacpp")


def test_engines_have_modules() -> None:
    assert set(engine.ENGINE_MODULES) == set(engine.ENGINE_PACKAGES)


def test_gpus_are_found_by_what_the_kernel_says(tmp_path: Path) -> None:
    def device(address: str, kind: str, vendor: str, driver: bool) -> None:
        folder = tmp_path / "sys/bus/pci/devices" / address
        folder.mkdir(parents=True)
        (folder / "class").write_text(kind + "\n")
        (folder / "vendor").write_text(vendor + "\n")
        (folder / "device").write_text("0x2330\n")
        if driver:
            (folder / "driver").mkdir()

    device("0000:01:00.0", "0x030200", "0x10de", True)
    device("0000:02:00.0", "0x030000", "0x1002", False)
    device("0000:03:00.0", "0x020000", "0x10de", True)  # a network card
    device("0000:04:00.0", "0x030000", "0x1a03", True)  # a server's screen adapter
    named = tmp_path / "proc/driver/nvidia/gpus/0000:01:00.0"
    named.mkdir(parents=True)
    (named / "information").write_text("Model: \t\t NVIDIA H100 80GB HBM3\nIRQ: 1\n")
    found = detect_gpus(tmp_path / "sys", tmp_path / "proc")
    assert [(gpu.vendor, gpu.model, gpu.has_driver) for gpu in found] == [
        ("NVIDIA", "NVIDIA H100 80GB HBM3", True),
        ("AMD", "0x2330", False),
    ]
    assert detect_gpus(tmp_path / "nothing", tmp_path) == []


class FakeLlama:
    """Holds tokens; its state is their text, ten bytes a token."""

    def __init__(self) -> None:
        self.input_ids = [0] * 1000
        self.n_tokens = 0
        self.ctx = self
        self._requires_eval = False

    def reset(self) -> None:
        self.n_tokens = 0

    def hold(self, tokens: list[int]) -> None:
        self.input_ids[: len(tokens)] = tokens
        self.n_tokens = len(tokens)


@pytest.fixture
def llama(monkeypatch: pytest.MonkeyPatch) -> FakeLlama:
    def read(context: FakeLlama, buffer: Any, size: int, _: int) -> int:
        buffer[:size] = b"s" * size
        return size

    fake = SimpleNamespace(
        llama_state_seq_get_size=lambda context, _: context.n_tokens * 10,
        llama_state_seq_get_data=read,
        llama_state_seq_set_data=lambda *_: 1,
        llama_memory_seq_rm=lambda *_: True,
        llama_get_memory=lambda context: context,
    )
    monkeypatch.setitem(sys.modules, "llama_cpp", fake)
    return FakeLlama()


def test_an_earlier_prompt_is_put_back(llama: FakeLlama) -> None:
    cache = PromptCache(llama, 10_000)
    writer, critic = list(range(300)), list(range(500, 650))
    llama.hold(writer)
    cache.switch(critic)
    llama.hold(critic)
    cache.switch([*writer[:250], 7, 8, 9])
    assert llama.n_tokens == 300
    assert llama.input_ids[:300] == writer
    assert llama._requires_eval


def test_a_prompt_that_goes_on_changes_nothing(llama: FakeLlama) -> None:
    cache = PromptCache(llama, 10_000)
    llama.hold(list(range(300)))
    cache.switch(list(range(320)))
    assert llama.n_tokens == 300
    assert cache._kept == []


def test_kept_prompts_stay_within_their_memory(llama: FakeLlama) -> None:
    cache = PromptCache(llama, 5_000)
    for start in range(0, 10_000, 1000):
        llama.hold(list(range(start, start + 200)))
        cache.switch([-1])
    assert sum(len(kept.state) for kept in cache._kept) <= 5_000
    assert cache._kept[-1].tokens[0] == 9000
    llama.hold(list(range(20_000, 20_600)))  # larger than the whole cache
    cache.switch([-1])
    assert cache._kept[-1].tokens[0] == 9000


def test_a_longer_state_replaces_its_own_beginning(llama: FakeLlama) -> None:
    cache = PromptCache(llama, 50_000)
    llama.hold(list(range(200)))
    cache.switch([-1])
    llama.hold(list(range(400)))
    cache.switch([-1])
    assert [len(kept.tokens) for kept in cache._kept] == [400]
