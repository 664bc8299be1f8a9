"""Asking within a conversation: the earlier turns are read, the new one is kept."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import text

from janus_core.agents.team import answer as answer_question
from janus_core.answers import Answer, Question
from janus_core.documents import Filter
from janus_core.errors import InvalidInput, ModelUnavailable
from janus_core.events import Sink, Trouble
from janus_core.llm.base import ChatModel, Embedder
from janus_core.retrieval.search import MAX_QUERY, Searcher
from janus_core.stores.postgres import Database

_REMEMBERED = 6
"""Turns of a conversation that a new question is read in the light of."""


@dataclass(frozen=True)
class Asking:
    """What answering a question needs."""

    database: Database
    searcher: Searcher
    embedder: Embedder
    open_model: Callable[[], ChatModel]


def ask(
    asking: Asking,
    question: str,
    where: Filter | None = None,
    *,
    session: str | None = None,
    sink: Sink,
) -> Answer:
    """Given a question, return its answer; with `session`, as the next turn of it.

    Without a chat model the answer is made of quotes. Raise InvalidInput for an
    empty or overlong question or session name, StoreUnavailable, ModelUnavailable
    (the embedder).
    """
    return asyncio.run(ask_async(asking, question, where, session=session, sink=sink))


async def ask_async(
    asking: Asking,
    question: str,
    where: Filter | None = None,
    *,
    session: str | None = None,
    sink: Sink,
) -> Answer:
    """See `ask`. Cancelling it frees the model and keeps no half turn."""
    _check(question, session)
    history = await asyncio.to_thread(_history, asking.database, session) if session else ()
    asked = Question(text=question, filter=where or Filter(), history=history)
    model: ChatModel | None = None
    try:
        model = asking.open_model()
    except ModelUnavailable as error:
        sink(Trouble(code=error.code, message=error.message, hint=error.hint))
    try:
        answer = await answer_question(
            asked,
            search=asking.searcher.search,
            embedder=asking.embedder,
            model=model,
            sink=sink,
        )
    finally:
        if model is not None:
            await model.aclose()
    if session:
        await asyncio.to_thread(_keep, asking.database, session, answer)
    return answer


def _check(question: str, session: str | None) -> None:
    if not question.strip():
        raise InvalidInput("the question is empty", "Example: janus ask 'Which valve …?'")
    if len(question) > MAX_QUERY:
        raise InvalidInput(
            f"the question has {len(question)} characters, {MAX_QUERY} are allowed",
            "Ingest long texts as documents, then ask about them.",
        )
    if session is not None and not (0 < len(session) <= 200 and session.isprintable()):
        raise InvalidInput("not a name for a session", "Use 1 to 200 printable characters.")


def _history(database: Database, session: str) -> tuple[tuple[str, str], ...]:
    with database.transaction() as tx:
        rows = tx.execute(
            text(
                "SELECT t.question, t.answer FROM turn t"
                " JOIN conversation c ON c.id = t.conversation_id"
                " WHERE c.name = :name ORDER BY t.id DESC LIMIT :n"
            ),
            {"name": session, "n": _REMEMBERED},
        ).all()
    return tuple((row.question, Answer.model_validate(row.answer).text) for row in reversed(rows))


def _keep(database: Database, session: str, answer: Answer) -> None:
    with database.transaction() as tx:
        conversation = tx.scalar(
            text(
                "INSERT INTO conversation (id, name) VALUES (:id, :name)"
                " ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id"
            ),
            {"id": uuid.uuid4(), "name": session},
        )
        tx.execute(
            text(
                "INSERT INTO turn (conversation_id, question, answer)"
                " VALUES (:c, :q, CAST(:a AS jsonb))"
            ),
            {
                "c": conversation,
                "q": answer.question.replace("\0", ""),
                "a": answer.model_dump_json().replace("\\u0000", ""),
            },
        )
