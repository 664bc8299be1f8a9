"""The demonstration: three questions about the example documents, and what counts as right."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from janus_core.answers import Answer
from janus_core.errors import Damaged
from janus_core.locations import packaged

COLLECTION = "demo"


@dataclass(frozen=True, slots=True)
class DemoQuestion:
    """A question with what a right answer says, and the pages that say it."""

    text: str
    answerable: bool
    gold: tuple[str, ...]
    """Any one of these, …"""
    also: tuple[str, ...]
    """… and all of these."""
    sources: frozenset[tuple[str, int]]
    """(file name, page)."""


def documents() -> Path:
    """Return the folder of the example documents. Raise BadConfiguration."""
    return packaged("examples") / "documents"


def questions() -> list[DemoQuestion]:
    """Return the questions that the demonstration asks. Raise Damaged, BadConfiguration."""
    path = packaged("examples") / "questions.jsonl"
    try:
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]
        return [
            DemoQuestion(
                text=row["question"],
                answerable=row["kind"] != "unanswerable",
                gold=tuple(row["gold"]),
                also=tuple(row.get("also", ())),
                sources=frozenset((each["file"], each["page"]) for each in row["sources"]),
            )
            for row in rows
            if row.get("demo")
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(
            f"{path} is not readable: {error}", "Install Janus again with ./install.sh."
        ) from error


def is_right(question: DemoQuestion, answer: Answer) -> bool:
    """Return whether an answer says what it should and cites a page that says so.

    What no document states must be answered with just that.
    """
    if not question.answerable:
        return answer.kind == "not_stated"
    said = " ".join(sentence.text for sentence in answer.sentences)
    cited = {(citation.uri.rsplit("/", 1)[-1], citation.page) for citation in answer.citations}
    return (
        answer.grounded
        and answer.kind != "not_stated"
        and any(gold in said for gold in question.gold)
        and all(also in said for also in question.also)
        and bool(cited & question.sources)
    )
