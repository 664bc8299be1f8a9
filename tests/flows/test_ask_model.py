"""The team with the real models: a small manual, a weak model, and no false sentence."""

import asyncio
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from janus_core.agents.team import answer
from janus_core.answers import Answer, Hit, Mode, Question
from janus_core.documents import Filter, Passage
from janus_core.events import Event, Sentence
from janus_core.llm.client import HttpChatModel
from janus_core.llm.embedding import FastembedEmbedder
from janus_core.llm.models import list_chat, list_embeddings
from janus_core.llm.server import ChatServer

MANUAL = {
    "Cooling manual": (
        "The relief valve RV-12 protects the circuit against overpressure. It opens at 4.5 bar and "
        "closes again at 4.1 bar. RV-12 must not be adjusted on site.\n\n"
        "The circuit holds 840 litres of a glycol mixture. Each pump weighs 86 kg."
    ),
    "Logbook": (
        "2024-02-11 CP-1: shaft seal leaking, replaced by T. Brandt.\n"
        "2024-03-02 RV-12 tested on the bench. Signed: L. Haddad."
    ),
    "Water": (
        "Bring the water to a rolling boil for one minute. Above 2,000 m boil it for three "
        "minutes, because water boils at a lower temperature there."
    ),
}
STATED = [
    ("At what pressure does the relief valve RV-12 open?", "4.5 bar"),
    ("How heavy is a pump?", "86 kg"),
    ("How many litres does the circuit hold?", "840"),
    ("Who signed the test of RV-12?", "Haddad"),
    ("How long must water boil above 2,000 m?", "three minutes"),
]
UNSTATED = [
    "When was RV-12 installed?",
    "Who manufactured the pump?",
    "At what pressure does RV-14 open?",
    "Who signed the test of CP-1?",
    "What does a shaft seal cost?",
]


def search(query: str, where: Filter, k: int, mode: Mode) -> Sequence[Hit]:
    return [
        Hit(
            rank=n,
            score=1.0,
            why=("dense",),
            passage=Passage(
                chunk_id=uuid.uuid5(uuid.NAMESPACE_OID, title),
                document_id=uuid.uuid5(uuid.NAMESPACE_URL, title),
                collection="default",
                title=title,
                uri=f"file:///{title}",
                object_key="",
                page=1,
                locator="",
                text=text,
            ),
        )
        for n, (title, text) in enumerate(MANUAL.items(), start=1)
    ][:k]


@pytest.fixture(scope="module")
def embedder(models_dir: Path) -> Iterator[FastembedEmbedder]:
    opened = FastembedEmbedder(list_embeddings(models_dir)[0].path)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def server(models_dir: Path) -> Iterator[ChatServer]:
    found = list_chat(models_dir)
    if not found:
        pytest.skip(f"there is no chat model in {models_dir}")
    with tempfile.TemporaryDirectory(prefix="janus-ask-") as name:
        made = ChatServer(
            models_dir, found[0].name, Path(name, "run"), Path(name, "log"), context=2048, threads=2
        )
        made.start()
        yield made
        made.stop()


def ask(
    question: str, embedder: FastembedEmbedder, server: ChatServer | None
) -> tuple[Answer, list[Event]]:
    events: list[Event] = []

    async def run() -> Answer:
        model = None
        if server is not None:
            place = server.endpoint()
            assert place is not None
            model = HttpChatModel(place.base_url, place.api_key, "bundled")
        try:
            return await answer(
                Question(text=question),
                search=search,
                embedder=embedder,
                model=model,
                sink=events.append,
            )
        finally:
            if model is not None:
                await model.aclose()

    return asyncio.run(run()), events


@pytest.mark.parametrize(("question", "gold"), STATED)
def test_what_is_stated_is_quoted(question: str, gold: str, embedder: FastembedEmbedder) -> None:
    result, _ = ask(question, embedder, None)
    assert result.kind == "quote"
    assert gold in result.text
    assert result.grounded


@pytest.mark.parametrize("question", UNSTATED)
def test_what_is_not_stated_is_declined(question: str, embedder: FastembedEmbedder) -> None:
    assert ask(question, embedder, None)[0].kind == "not_stated"


@pytest.mark.timeout(600)
def test_a_weak_model_says_nothing_false(embedder: FastembedEmbedder, server: ChatServer) -> None:
    for question, gold in STATED:
        result, events = ask(question, embedder, server)
        assert gold in result.text, result.text
        assert result.grounded
        for citation in result.citations:
            assert any(citation.quote in text for text in MANUAL.values())
        assert [e.text for e in events if isinstance(e, Sentence)] == [
            s.text for s in result.sentences
        ]
    for question in UNSTATED:
        assert ask(question, embedder, server)[0].kind == "not_stated"
