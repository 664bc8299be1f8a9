"""The only file that knows the order: plan, research, write, verify, again for what is open."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field

from janus_core.agents.asking import asked
from janus_core.agents.candidates import Candidate
from janus_core.agents.plan import parts_of, plan, without_subject
from janus_core.agents.quoting import Source, quotation, source
from janus_core.agents.reading import Part, Reading, closest, read
from janus_core.agents.research import Search, merge, research
from janus_core.agents.verify import Support, hopeless, verify
from janus_core.agents.write import EVIDENCE_WORDS, EVIDENCE_WORDS_WEAK, NOT_STATED, Writing, prompt
from janus_core.answers import (
    Answer,
    AnswerKind,
    AnswerSentence,
    Citation,
    Evidence,
    Plan,
    Question,
    Step,
)
from janus_core.errors import ModelUnavailable
from janus_core.events import CitationMade, Sentence, Sink, StepEnded, StepStarted, Tokens, Trouble
from janus_core.llm.base import ChatModel, Embedder

MOST_SENTENCES = 4
QUOTES_ONLY = "The answer is made of quotes. `janus status` tells about the model."
NOTHING = "The documents do not state this."
NOT_DIRECTLY = "The documents do not state this directly."


async def answer(
    question: Question,
    *,
    search: Search,
    embedder: Embedder,
    model: ChatModel | None,
    sink: Sink,
    max_rounds: int = 2,
    strict: bool = True,
) -> Answer:
    """Given a question, return its answer; each sentence goes to `sink` as soon as it is verified.

    Without a model (who passes None has said why), or with one that fails, the
    answer is made of quotes. With
    `strict` (for weak models) no word may come from outside the cited sentence
    and the question. Raise StoreUnavailable when the search fails and
    ModelUnavailable when the embedder does. Cancelling leaves nothing behind.
    """
    run = _Run(question, sink)
    with run.step("planner") as step:
        chosen = plan(question)
        step.summary = f"{len(parts_of(chosen))} part(s)"
    open_parts = list(parts_of(chosen))
    evidence = Evidence(hits=())
    for turn in range(max_rounds):
        asking = chosen if turn == 0 else _again(chosen, open_parts, run)
        with run.step("researcher") as step:
            found = await asyncio.to_thread(research, asking, search)
            if turn and _ids(found) <= _ids(evidence):
                step.summary = "nothing new"
                break
            evidence = merge([found.hits, evidence.hits], chosen.passages) if turn else found
            reading = await asyncio.to_thread(
                read,
                evidence,
                " ".join(open_parts) if turn else chosen.queries[0],
                open_parts,
                embedder,
            )
            step.summary = f"{len(evidence.hits)} passages, {len(reading.chosen)} sentences"
        done: set[int] = set()
        if model is not None and (not strict or any(part.best for part in reading.parts)):
            done = await _write(run, reading, embedder, model, strict=strict)
        for place, part in enumerate(reading.parts):
            if place not in done and part.best is not None:
                run.quote(part)
                done.add(place)
        open_parts = [p.asked.text for i, p in enumerate(reading.parts) if i not in done]
        if not open_parts:
            break
    near: Candidate | None = None
    if len(open_parts) == len(parts_of(chosen)):
        near = await asyncio.to_thread(closest, evidence, chosen.queries[0], embedder)
    run.conclude(open_parts, near, all_parts=len(parts_of(chosen)))
    return run.answer(model.name if model is not None else "")


async def _write(
    run: _Run, reading: Reading, embedder: Embedder, model: ChatModel, *, strict: bool
) -> set[int]:
    """Let the model write, say what holds, and return which parts it answered."""
    done: set[int] = set()
    drafted = held = refused = 0
    try:
        with run.step("writer") as step:
            words = EVIDENCE_WORDS_WEAK if strict else EVIDENCE_WORDS
            writing = Writing(
                prompt(reading, evidence_words=words),
                model,
                on_tokens=lambda count: run.sink(Tokens(count=count)),
                is_hopeless=hopeless(reading) if strict else lambda beginning: False,
            )
            async with aclosing(writing.sentences()) as sentences:
                async for sentence in sentences:
                    if NOT_STATED.search(sentence):
                        break
                    drafted += 1
                    verdict = await asyncio.to_thread(
                        verify, sentence, reading, embedder, strict=strict
                    )
                    # A weak model is held to answers; what else it says is chatter.
                    if isinstance(verdict, Support) and (verdict.answered - done or not strict):
                        held += 1
                        done |= verdict.answered
                        run.say(verdict.text, [source(c) for c in verdict.sources], "answer")
                        run.note(verdict.sources)
                    else:
                        run.dropped += 1
                        refused += 1
                    if held >= MOST_SENTENCES or refused >= (1 if strict else 2):
                        break
                    if strict and len(done) == len(reading.parts):
                        break
            run.dropped += writing.given_up
            step.summary = f"{drafted + writing.given_up} sentence(s), {held} held"
            run.prompt_tokens += writing.prompt_tokens
            run.completion_tokens += writing.completion_tokens
    except ModelUnavailable as error:
        run.sink(Trouble(code=error.code, message=error.message, hint=error.hint or QUOTES_ONLY))
    if held and not strict and not done:
        done = set(range(len(reading.parts)))
    return done


def _again(chosen: Plan, open_parts: Sequence[str], run: _Run) -> Plan:
    """The plan of another round: what is still open, with the names found so far."""
    queries = tuple(f"{part} {' '.join(run.names)}".strip() for part in open_parts)
    return chosen.model_copy(update={"queries": queries})


def _ids(evidence: Evidence) -> set[str]:
    return {str(hit.passage.chunk_id) for hit in evidence.hits}


@dataclass
class _Step:
    summary: str = ""


@dataclass
class _Run:
    """What one answer has gathered so far."""

    question: Question
    sink: Sink
    began: float = field(default_factory=time.monotonic)
    said: list[AnswerSentence] = field(default_factory=list)
    citations: list[Citation] = field(default_factory=list)
    names: dict[str, None] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    kind: AnswerKind = "not_stated"
    dropped: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @contextmanager
    def step(self, agent: str) -> Iterator[_Step]:
        self.sink(StepStarted(agent=agent))
        began, step, failed = time.monotonic(), _Step(), True
        try:
            yield step
            failed = False
        finally:
            took = round((time.monotonic() - began) * 1000)
            self.steps.append(Step(agent=agent, summary=step.summary, took_ms=took))
            self.sink(StepEnded(agent=agent, summary=step.summary, took_ms=took, failed=failed))

    def say(self, text: str, sources: Sequence[Source], kind: AnswerKind) -> None:
        if any(said.text == text for said in self.said):
            return
        numbers = tuple(dict.fromkeys(self._cite(cited) for cited in sources))
        self.said.append(AnswerSentence(text=text, citations=numbers))
        if self.kind != "answer":
            self.kind = kind
        self.sink(Sentence(text=text, citations=numbers))

    def quote(self, part: Part) -> None:
        if part.best is not None:
            text, sources = quotation(part.asked, part.best.candidate)
            self.say(text, sources, "quote")
            self.note([part.best.candidate])

    def note(self, used: Sequence[Candidate]) -> None:
        """Keep the names that were found: they lead the next round."""
        self.names.update(dict.fromkeys(w.text for c in used for w in c.words if w.key in c.names))

    def conclude(self, open_parts: Sequence[str], near: Candidate | None, all_parts: int) -> None:
        """Say what was not found; where nothing was, name the closest passage, if one is near."""
        if not open_parts:
            return
        if len(open_parts) < all_parts:
            for part in open_parts:
                self._remark(f"The documents do not state directly: {without_subject(part)}")
        elif near is None:
            self._remark(NOTHING)
        else:
            self._remark(NOT_DIRECTLY)
            text, sources = quotation(asked(self.question.text), near)
            text, numbers = f"Closest passage: “{text}”", tuple(map(self._cite, sources))
            self.said.append(AnswerSentence(text=text, citations=numbers))
            self.sink(Sentence(text=text, citations=numbers))

    def answer(self, model: str) -> Answer:
        return Answer(
            question=self.question.text,
            kind=self.kind,
            sentences=tuple(self.said),
            citations=tuple(self.citations),
            steps=tuple(self.steps),
            dropped=self.dropped,
            model=model,
            tokens={"prompt": self.prompt_tokens, "completion": self.completion_tokens},
            took_ms=round((time.monotonic() - self.began) * 1000),
        )

    def _remark(self, text: str) -> None:
        self.said.append(AnswerSentence(text=text))
        self.sink(Sentence(text=text))

    def _cite(self, cited: Source) -> int:
        passage = cited.passage
        for known in self.citations:
            if known.chunk_id == str(passage.chunk_id) and known.quote == cited.quote:
                return known.n
        citation = Citation(
            n=len(self.citations) + 1,
            document_id=str(passage.document_id),
            title=passage.title,
            uri=passage.uri,
            page=passage.page,
            locator=passage.locator,
            quote=cited.quote,
            chunk_id=str(passage.chunk_id),
        )
        self.citations.append(citation)
        self.sink(
            CitationMade(
                n=citation.n,
                title=citation.title,
                uri=citation.uri,
                page=citation.page,
                locator=citation.locator,
                quote=citation.quote,
            )
        )
        return citation.n
