"""janus ask: a cited, verified answer."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from janus_cli import report
from janus_cli.render.live import ndjson, steps
from janus_cli.session import command, opened, print_json

if TYPE_CHECKING:
    from janus_core.answers import Answer
    from janus_core.events import Event, Sink

app = typer.Typer()

_LONGEST = 1_000_000


@app.command(
    epilog="Examples:  janus ask 'Which valve limits the pressure?'"
    "   ·   echo 'Who …?' | janus ask -   ·   janus ask '…' --session field-trip --show-steps"
)
@command
def ask(
    question: Annotated[str, typer.Argument(help="The question, or - for standard input.")],
    collection: Annotated[
        list[str] | None, typer.Option("--collection", "-c", help="Only these; repeatable.")
    ] = None,
    session: Annotated[
        str | None, typer.Option(help="A conversation to go on with; made if it is new.")
    ] = None,
    show_steps: Annotated[
        bool, typer.Option("--show-steps", help="What each agent does, on stderr.")
    ] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="NDJSON events, then the answer.")
    ] = False,
) -> None:
    """Get an answer of which every sentence is supported by a passage.

    If the documents do not say it, neither does Janus: it quotes the closest
    passage or says that it is not stated.
    """
    from janus_core.agents.conversation import ask as ask_core
    from janus_core.documents import Filter

    text = sys.stdin.read(_LONGEST) if question == "-" else question
    sink = ndjson if json_output else _Printer(show_steps).on_event
    with opened() as janus:
        answer = ask_core(
            janus.asking,
            text.strip(),
            Filter(frozenset(collection or ())),
            session=session,
            sink=sink,
        )
    if json_output:
        print_json(as_json(answer))
    else:
        show(answer, streamed=sys.stdout.isatty())


class _Printer:
    """Streams sentences to a terminal; elsewhere the answer comes at the end."""

    def __init__(self, show_steps: bool) -> None:
        self._sink: Sink | None = steps if show_steps else None

    def on_event(self, event: Event) -> None:
        """Show an event."""
        from janus_cli.render.live import lines
        from janus_core.events import Sentence, Trouble

        if isinstance(event, Sentence) and sys.stdout.isatty():
            print(with_marks(event.text, event.citations), flush=True)
        elif isinstance(event, Trouble):
            lines(event)
        elif self._sink is not None:
            self._sink(event)


def with_marks(text: str, citations: tuple[int, ...]) -> str:
    """Given a sentence and its citations, return it as a person reads it."""
    marks = "".join(f"[{n}]" for n in citations)
    return f"{report.printable(text)} {report.paint(marks, 'cyan', sys.stdout)}".rstrip()


def show(answer: Answer, *, streamed: bool, indent: str = "") -> None:
    """Print an answer with its sources."""
    if not streamed:
        for sentence in answer.sentences:
            print(indent + with_marks(sentence.text, sentence.citations))
    for citation in answer.citations:
        name = citation.uri.rsplit("/", 1)[-1] or citation.title
        place = f" {citation.locator}" if citation.locator else ""
        line = f"{indent or ' '}[{citation.n}] {name}{place}"
        print(report.paint(report.printable(line), "dim", sys.stdout))


def as_json(answer: Answer) -> dict[str, Any]:
    """Given an answer, return the JSON of CLI.md's `ask`."""
    return {
        "type": "result",
        "question": answer.question,
        "answer": answer.text,
        "grounded": answer.grounded,
        **answer.model_dump(mode="json", exclude={"question"}),
    }
