"""The first verified sentence of an answer beside the bare model server, in one run.

    python bench/first_sentence.py [--rounds 3]

On the examples, in a running process: seconds from the question to the first
`Sentence` event, and seconds in which the model server alone, on the very prompt
that the writer used, has written as many characters (its own words, which may be
wrong) or ended. Before each measurement an unrelated prompt pushes the other's
prefix out of the server's memory, and the two take turns in going first. Prints
each question's figures and the median ratio.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from scratch import scratch_node

from janus_core.agents.conversation import ask_async
from janus_core.app import Janus
from janus_core.events import Event, Sentence
from janus_core.ingestion.follow import Follower
from janus_core.ingestion.intake import find_files
from janus_core.llm.base import ChatModel, Message, Piece

EXAMPLES = Path(__file__).parent.parent / "examples"
UNRELATED = " ".join(f"Item {n} is of no importance to anybody." for n in range(120))


class Recorder:
    """A chat model that remembers the prompts it was given."""

    def __init__(self, model: ChatModel) -> None:
        self._model = model
        self.prompts: list[Sequence[Message]] = []

    @property
    def name(self) -> str:
        """See ChatModel."""
        return self._model.name

    def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        stop: Sequence[str] = (),
        json_schema: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[Piece]:
        """See ChatModel."""
        self.prompts.append(messages)
        return self._model.stream(messages, max_tokens=max_tokens, temperature=temperature)

    async def aclose(self) -> None:
        """See ChatModel."""
        await self._model.aclose()


async def bare(model: ChatModel, messages: Sequence[Message], length: int) -> float:
    """Seconds until the server alone has written so many characters."""
    began, written = time.perf_counter(), 0
    async for piece in model.stream(messages, max_tokens=160):
        written += len(piece.text)
        if written >= length:
            break
    return time.perf_counter() - began


async def through_janus(janus: Janus, question: str) -> tuple[float, int, list[Sequence[Message]]]:
    """Seconds until the first verified sentence, its length, and the writer's prompts."""
    recorder = Recorder(janus.chat_model())
    firsts: list[tuple[float, int]] = []

    def sink(event: Event) -> None:
        if isinstance(event, Sentence):
            firsts.append((time.perf_counter(), len(event.text)))

    asking = replace(janus.asking, open_model=lambda: recorder)
    began = time.perf_counter()
    await ask_async(asking, question, sink=sink)
    return firsts[0][0] - began, firsts[0][1], recorder.prompts


async def push_out(model: ChatModel) -> None:
    """Fill the server's slots with something else."""
    for turn in range(3):
        async for _ in model.stream([Message("user", f"{turn} {UNRELATED}")], max_tokens=1):
            pass


async def measure(janus: Janus, rounds: int) -> None:
    """Measure and print."""
    lines = (EXAMPLES / "questions.jsonl").read_text("utf-8").splitlines()
    questions = [q["question"] for q in map(json.loads, lines) if q["kind"] == "plain"]
    model, ratios = janus.chat_model(), []
    for question in questions:
        _, length, prompts = await through_janus(janus, question)
        if not prompts:
            print(f"answered without the model: {question}")
            continue
        ours, theirs = [], []
        for turn in range(rounds):
            for janus_now in (turn % 2 == 0, turn % 2 == 1):
                await push_out(model)
                if janus_now:
                    ours.append((await through_janus(janus, question))[0])
                else:
                    theirs.append(await bare(model, prompts[0], length))
        ratio = statistics.median(ours) / statistics.median(theirs)
        ratios.append(ratio)
        mine, its = statistics.median(ours), statistics.median(theirs)
        print(f"{mine:6.2f} s / {its:6.2f} s = {ratio:5.2f}  {question}")
    print(f"median ratio {statistics.median(ratios):.2f} (must be ≤ 1.5)")


def main() -> None:
    """Bring a node up, ingest the examples, measure."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=3)
    rounds = options.parse_args().rounds
    with scratch_node(chat=True) as janus:
        with Follower(janus.database, janus.live, lambda event: None) as follower:
            taken = janus.intake("default", {}).take(find_files([EXAMPLES / "documents"]))
            list(follower.wait([t.job_id for t in taken if t.job_id]))
        asyncio.run(measure(janus, rounds))


if __name__ == "__main__":
    main()
