"""The sentences of the evidence that may support an answer, with what surrounds each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from janus_core.agents import sentences
from janus_core.agents.words import Word, is_name, keys, words
from janus_core.answers import Evidence
from janus_core.documents import Passage

MOST_PASSAGES = 8
MOST_SENTENCES = 240
"""Bounds the work on a passage that is one long list; lexical checks of these take milliseconds."""
LONGEST = 1_200
"""Characters. A longer "sentence" is a table or code without marks; nobody wants it quoted."""


@dataclass(frozen=True)
class Candidate:
    """A sentence of a passage: `passage.text[start:end]`, with its neighbours."""

    passage: Passage
    rank: int
    """1 is the best passage."""
    start: int
    end: int
    before: str = ""
    after: str = ""

    @property
    def quote(self) -> str:
        """The exact text in the passage."""
        return self.passage.text[self.start : self.end]

    @cached_property
    def text(self) -> str:
        """The sentence on one line."""
        return sentences.clean(self.quote)

    @cached_property
    def words(self) -> list[Word]:
        """The words of the sentence, in order."""
        return words(self.text)

    @cached_property
    def keys(self) -> frozenset[str]:
        """The keys of its words."""
        return keys(self.text)

    @cached_property
    def heading_keys(self) -> frozenset[str]:
        """The keys of the document's title and of the passage's headings."""
        return keys(sentences.clean(f"{self.passage.title}. {self.passage.locator}"))

    @cached_property
    def near_keys(self) -> frozenset[str]:
        """The keys of the sentences just before and after."""
        return keys(f"{self.before} {self.after}")

    @cached_property
    def passage_keys(self) -> frozenset[str]:
        """The keys of the whole passage and its headings."""
        return keys(sentences.clean(self.passage.text)) | self.heading_keys

    @cached_property
    def names(self) -> frozenset[str]:
        """The keys of the names in the sentence."""
        return frozenset(w.key for w in self.words if is_name(w, self.text))


def candidates(evidence: Evidence) -> list[Candidate]:
    """Given evidence, return the sentences of its passages, best passage first."""
    found: list[Candidate] = []
    seen: set[str] = set()
    for rank, hit in enumerate(evidence.hits[:MOST_PASSAGES], start=1):
        for candidate in _of_passage(hit.passage, rank):
            if candidate.text not in seen:
                seen.add(candidate.text)
                found.append(candidate)
        if len(found) >= MOST_SENTENCES:
            break
    return found[:MOST_SENTENCES]


def _of_passage(passage: Passage, rank: int) -> Sequence[Candidate]:
    text = passage.text
    spans = [
        span
        for span in sentences.split(text)
        if span.end - span.start <= LONGEST
        and any(c.isalnum() for c in text[span.start : span.end])
    ]
    lines = [sentences.clean(text[span.start : span.end]) for span in spans]
    return [
        Candidate(
            passage=passage,
            rank=rank,
            start=span.start,
            end=span.end,
            before=lines[i - 1] if i else "",
            after=lines[i + 1] if i + 1 < len(lines) else "",
        )
        for i, span in enumerate(spans)
    ]
