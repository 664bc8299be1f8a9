"""The planner: a question, and what it asks for one by one. No model is involved."""

from __future__ import annotations

import re

from janus_core.agents.words import is_name, words
from janus_core.answers import Plan, Question

_ASK = (
    r"(?:(?:on|in|at|by|for|with|from|to|of|since|until)\s+)?"
    r"(?:who|whom|whose|when|where|why|how|what|which|is|are|was|were|does|do|did|can|must|should)\b"
)
_JOINT = re.compile(
    rf"(?:\s*[,;]\s*(?:and|but|or)?\s+|\s+and\s+|\s*\?\s+(?:and\s+)?)(?={_ASK})", re.I
)
_WH = re.compile(r"\b(?:who|whom|whose|when|where|why|how|what|which)\b", re.I)
_STARTS_ASKING = re.compile(rf"\W*{_ASK}", re.I)
_BACK_REFERENCE = re.compile(
    r"\b(?:it|its|they|them|their|theirs|he|him|his|she|her|hers|this|these|those)\b",
    re.I,
)
_BRACKETS = re.compile(r"\s*\([^()]*\)\s*\??\s*$")
MOST_PARTS = 4
LONGEST_QUESTION = 2_000
"""Characters. What is longer is searched by its beginning."""


def plan(question: Question) -> Plan:
    """Given a question, return what to search for: the question itself, then its parts.

    A question such as "which valve …, and who signed its test?" has two parts,
    the later ones extended by what their pronouns stand for. A follow-up gets
    the key terms of the question before it. A question with one part has no
    sub-questions.
    """
    text = " ".join(question.text.split())[:LONGEST_QUESTION]
    if question.history and (refers_back(text) or len(_content(text)) < 2):
        text = _with_terms(text, question.history[-1][0])
    parts = _parts(text)
    return Plan(question=question, queries=(text, *(parts if len(parts) > 1 else ())))


def parts_of(chosen: Plan) -> tuple[str, ...]:
    """Given a plan, return the questions that each want an answer."""
    return chosen.queries[1:] or chosen.queries


def _parts(text: str) -> list[str]:
    pieces = [piece.strip(" ,;?") for piece in _JOINT.split(text) if piece.strip(" ,;?")]
    if len(pieces) < 2 or not all(_STARTS_ASKING.match(piece) for piece in pieces[1:]):
        return [text]
    if not _WH.search(pieces[0]) and not _STARTS_ASKING.match(pieces[0]):
        return [text]
    # "Is it stable and is it …" splits; "the pump that is … and is …" is one question.
    pieces = _rejoined(pieces)[:MOST_PARTS]
    if len(pieces) < 2:
        return [text]
    whole = [f"{pieces[0]}?"]
    for piece in pieces[1:]:
        whole.append(_with_terms(piece, pieces[0]) if refers_back(piece) else f"{piece}?")
    return whole


def _rejoined(pieces: list[str]) -> list[str]:
    """Join a piece to the one before unless it asks with a question word, or all are yes/no."""
    joined = [pieces[0]]
    for piece in pieces[1:]:
        if not _content(joined[-1]):  # "When and where is …"
            joined[-1] += f" and {piece}"
        elif _WH.search(piece[:24]) or not _WH.search(joined[0]):
            joined.append(piece)
        else:
            joined[-1] += f" and {piece}"
    return joined


def refers_back(text: str) -> bool:
    """Given a question, return whether it has a pronoun for something named before."""
    return bool(_BACK_REFERENCE.search(text))


def _content(text: str) -> list[str]:
    return [w.key for w in words(text) if w.content]


def with_subject(text: str, terms: list[str]) -> str:
    """Given a question and what its pronouns stand for, return it with that in brackets."""
    plain = _BRACKETS.sub("", text).rstrip(" ?")
    return f"{plain} ({' '.join(dict.fromkeys(terms))})?" if terms else f"{plain}?"


def without_subject(text: str) -> str:
    """Given a question, return it as it was before `with_subject`."""
    return f"{_BRACKETS.sub('', text).rstrip(' ?')}?"


def _with_terms(text: str, earlier: str) -> str:
    """Given a question and an earlier one, return it with the earlier one's subject in brackets."""
    own = {w.key for w in words(text)}
    found = [w for w in words(earlier) if w.key not in own]
    names = [w.text for w in found if is_name(w, earlier)]
    nouns = [w.text for w in found if w.content]
    return with_subject(text, names or nouns[:4])
