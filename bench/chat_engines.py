"""Compare the chat engines on what agents do: short and long prompts by turns.

    python bench/chat_engines.py MODELS_DIR [--rounds 3] [--json FILE]

Each round asks a planner, a writer with about 500 tokens of evidence, and a
critic, with the stable part of each prompt first; then the writer once more
with the same evidence and another question, to see what a repeated prefix
saves after other prompts have passed. The engines take turns, so that other
load on the machine meets both. CPU seconds are the engine's own and hardly
depend on that load; wall times do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from janus_core.offgrid import seal

seal()

from janus_core.llm.base import Message  # noqa: E402
from janus_core.llm.client import HttpChatModel  # noqa: E402
from janus_core.llm.models import list_chat  # noqa: E402
from janus_core.llm.server import ChatServer  # noqa: E402

PLANNER = "You split a question into at most three simple questions, one on each line."
WRITER = (
    "You answer questions from the passages below, in one or two sentences, citing passages "
    "like [1]. Say only what a passage says.\n\n"
)
CRITIC = "You say yes if the passage supports the sentence, else no. Answer with one word."
TOPICS = ("pump", "turbine", "battery", "antenna", "generator", "filter")


def passage(number: int, topic: str) -> str:
    return (
        f"[{number}] Record {number * 37} of the field station: the {topic} was inspected on day "
        f"{number * 11} and showed wear at bearing {number}; pressure had fallen to {number * 13} "
        f"kilopascal and the technician replaced the seal before the {topic} was put back into "
        "service. The next inspection is due in six months or after two thousand hours.\n"
    )


def prompts(turn: int) -> list[tuple[str, list[Message], int]]:
    topic = TOPICS[turn % len(TOPICS)]
    evidence = WRITER + "".join(passage(turn * 6 + n, topic) for n in range(1, 7))
    questions = f"Why was the {topic} serviced?", f"When is the {topic} due again?"
    return [
        ("planner", [Message("system", PLANNER), Message("user", questions[0])], 32),
        ("writer", [Message("system", evidence), Message("user", questions[0])], 64),
        (
            "critic",
            [Message("system", CRITIC), Message("user", passage(turn, topic) + questions[1])],
            4,
        ),
        ("writer, same evidence", [Message("system", evidence), Message("user", questions[1])], 64),
    ]


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pss_mib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) // 1024
    return 0


async def ask(model: HttpChatModel, messages: list[Message], max_tokens: int) -> tuple[float, ...]:
    began = time.perf_counter()
    first = 0.0
    last = None
    async for piece in model.stream(messages, max_tokens=max_tokens):
        first = first or time.perf_counter() - began
        last = piece
    assert last is not None
    rest = time.perf_counter() - began - first
    rate = (last.completion_tokens - 1) / rest if rest > 0 and last.completion_tokens > 1 else 0.0
    return first, rate, last.prompt_tokens


async def one_round(
    server: ChatServer, turn: int, found: dict[str, list[tuple[float, ...]]]
) -> None:
    endpoint, running = server.endpoint(), server.info()
    assert endpoint is not None and running is not None
    model = HttpChatModel(endpoint.base_url, endpoint.api_key, "bench")
    for role, messages, max_tokens in prompts(turn):
        before = cpu_seconds(running.pid)
        first, rate, prompt_tokens = await ask(model, messages, max_tokens)
        found[role].append((first, rate, prompt_tokens, cpu_seconds(running.pid) - before))
    await model.aclose()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("models", type=Path)
    parser.add_argument("--model", default="")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    name = given.model or list_chat(given.models)[0].name
    results: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory(prefix="janus-bench-") as folder:
        servers = {}
        timings: dict[str, dict[str, list[tuple[float, ...]]]] = {}
        ready: dict[str, list[float]] = defaultdict(list)
        memory: dict[str, int] = {}
        for engine in ("llama-cpp-python", "xllamacpp"):
            base = Path(folder, engine)
            servers[engine] = ChatServer(
                given.models, name, base / "run", base / "log", engine=engine
            )
            timings[engine] = defaultdict(list)
        try:
            # Prompts of an earlier turn must stay known to a running engine, so each engine
            # works off all its turns in one life; the engines alternate in thirds.
            for third in range(3):
                for engine, server in servers.items():
                    began = time.perf_counter()
                    running = server.start()
                    ready[engine].append(time.perf_counter() - began)
                    for turn in range(given.rounds):
                        asyncio.run(one_round(server, third * given.rounds + turn, timings[engine]))
                    memory[engine] = max(memory.get(engine, 0), pss_mib(running.pid))
                    server.stop()
        finally:
            for server in servers.values():
                server.stop()
    print(f"{name}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, medians")
    for engine, roles in timings.items():
        print(
            f"\n{engine}: ready in {statistics.median(ready[engine]):.1f} s, "
            f"PSS {memory[engine]} MiB"
        )
        results[engine] = {"ready_s": statistics.median(ready[engine]), "pss_mib": memory[engine]}
        for role, rows in roles.items():
            first, rate, tokens, cpu = (
                statistics.median(column) for column in zip(*rows, strict=True)
            )
            print(
                f"  {role:22} prompt {tokens:4.0f} tokens  first token {first:6.2f} s  "
                f"{rate:6.1f} tokens/s  {cpu:5.2f} CPU s"
            )
            results[engine][role] = {"first_s": first, "tokens_s": rate, "cpu_s": cpu}
    if given.json:
        given.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    sys.exit(main())
