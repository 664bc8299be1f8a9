"""janus demo: the main job on the example documents."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from janus_cli import report
from janus_cli.commands import ask as asking
from janus_cli.commands.ingest import Summary, take_in
from janus_cli.render.live import ndjson, sink_for
from janus_cli.session import command, opened, print_json

app = typer.Typer()


@app.command(epilog="Examples:  janus demo   ·   janus demo --json")
@command
def demo(
    json_output: Annotated[
        bool, typer.Option("--json", help="NDJSON events, then the result.")
    ] = False,
) -> int:
    """Bring Janus up, take the example documents in and ask three questions about them.

    They go into a collection of their own, named demo. Exit code 0 only if every
    answer is right and cites the page; the third question has no answer, and
    Janus should say so.
    """
    import time

    from janus_core.agents.conversation import ask
    from janus_core.documents import Filter
    from janus_core.events import ignore
    from janus_core.node import demo as example
    from janus_core.node.profile import bring_up

    questions = example.questions()
    began = time.monotonic()
    with opened(up=False) as janus:
        bring_up(janus, None, sink_for(json_output))
        report.say(f"ready in {time.monotonic() - began:.1f} s")
        summary = Summary(json_output)
        intake = janus.intake(example.COLLECTION, {})
        take_in(janus, intake, [example.documents()], summary)
        if not json_output:
            summary.show(no_wait=False)
        rows: list[dict[str, Any]] = []
        for question in questions:
            if not json_output:
                print()
                print(report.paint("Q", "cyan", sys.stdout), "", report.printable(question.text))
            where = Filter(frozenset({example.COLLECTION}))
            answer = ask(janus.asking, question.text, where, sink=ndjson if json_output else ignore)
            right = example.is_right(question, answer)
            rows.append({"right": right, **asking.as_json(answer)})
            if not json_output:
                asking.show(answer, streamed=False, indent="   ")
                seconds = f"{answer.took_ms / 1000:.1f} s"
                print(report.paint(f"   {answer.kind}, {seconds}", "dim", sys.stdout))
            if not right:
                expected = " · ".join((*question.also, *question.gold[:1])) or "that it says so"
                report.problem(f"this is not the answer that was expected: {expected}")
    worked = sum(row["right"] for row in rows)
    if json_output:
        print_json({"type": "result", "questions": rows, "worked": worked})
    else:
        print()
        print("Next: janus ingest ~/documents · janus ask 'What …?' · janus status")
    failed = worked < len(questions) or not questions or bool(summary.failed)
    return report.exit_code("failure") if failed else report.OK
