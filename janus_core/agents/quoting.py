"""Quoting: the exact text of a passage, with as much around it as one needs to understand it."""

from __future__ import annotations

from dataclasses import dataclass

from janus_core.agents.asking import Asked
from janus_core.agents.candidates import Candidate
from janus_core.agents.sentences import Span, clean, is_clean
from janus_core.agents.words import words
from janus_core.documents import Passage

_TERM = 4
"""Words of a heading that is the term being explained."""
_FAR = 400
"""Characters between a heading and a sentence over which they are no longer quoted as one."""


@dataclass(frozen=True, eq=False)
class Source:
    """A stretch of a passage that supports a sentence."""

    passage: Passage
    start: int
    end: int

    @property
    def quote(self) -> str:
        """The exact text."""
        return self.passage.text[self.start : self.end]


def source(candidate: Candidate) -> Source:
    """Given a candidate, return it as a source, with the sentence that it leans on."""
    first = candidate.before if candidate.leans and candidate.before else candidate.span
    return Source(candidate.passage, first.start, candidate.span.end)


def quotation(question: Asked, candidate: Candidate) -> tuple[str, tuple[Source, ...]]:
    """Given a question and the sentence that answers it, return what to show and its sources.

    A sentence that leans on the one before is quoted with it. One that names
    its subject only in the heading ("Sets the …", under "shared_buffers") is
    quoted with the heading: as one stretch where they are near, unless
    characters that a terminal would obey stand between them.
    """
    text, span = candidate.text, candidate.span
    if candidate.leans and candidate.before is not None:
        span = Span(candidate.before.start, span.end, span.line)
        text = clean(candidate.passage.text[span.start : span.end])
    heading = _needed_heading(question, candidate)
    if heading is None:
        return text, (Source(candidate.passage, span.start, span.end),)
    shown = f"{candidate.at(heading).rstrip(':')}: {text}"
    near = 0 <= span.start - heading.end <= _FAR
    if near and is_clean(candidate.passage.text[heading.end : span.start]):
        return shown, (Source(candidate.passage, heading.start, span.end),)
    return shown, (
        Source(candidate.passage, heading.start, heading.end),
        Source(candidate.passage, span.start, span.end),
    )


def _needed_heading(question: Asked, candidate: Candidate) -> Span | None:
    for heading in reversed(candidate.above):
        found = {w.key: w for w in words(candidate.at(heading))}
        lacking = found.keys() - candidate.keys - candidate.before_keys
        covers = any(term.key in lacking for term in question.terms if term.weight >= 1.0)
        # "Which parameter sets …": the heading alone names it.
        names = question.kind == "choice" and lacking and len(found) <= _TERM
        if covers or names:
            return heading
    return None
