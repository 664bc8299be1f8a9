"""janus down: stop everything that `up` started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from janus_cli import report
from janus_cli.render.live import sink_for
from janus_cli.render.text import human_bytes
from janus_cli.session import command, confirmed, opened, print_json

if TYPE_CHECKING:
    from janus_core.node.erase import Doomed

app = typer.Typer()


@app.command(
    epilog="Examples:  janus down   ·   janus down --volumes --dry-run"
    "   ·   janus down --volumes --yes"
)
@command
def down(
    volumes: Annotated[
        bool, typer.Option("--volumes", help="Delete documents, stores and logs as well.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list what would be deleted.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="NDJSON events.")] = False,
) -> int:
    """Stop everything that `up` started, and nothing else.

    With --volumes, delete what this installation keeps; settings and models stay,
    and so do stores that a URL in the settings points elsewhere.
    """
    from janus_core.node.erase import erase, what_goes
    from janus_core.node.profile import bring_down

    with opened(up=False) as janus:
        doomed = what_goes(janus) if volumes else ()
        if dry_run or volumes:
            _list(doomed, json_output)
        if dry_run:
            return report.OK
        if volumes and not confirmed("Delete all of this for good?", yes=yes):
            report.say("nothing was stopped or deleted")
            return report.exit_code("failure")
        bring_down(janus, sink_for(json_output))
        erase(doomed)
    if json_output:
        print_json({"type": "result", "deleted": [str(each.path) for each in doomed]})
    return report.OK


def _list(doomed: tuple[Doomed, ...], json_output: bool) -> None:
    if json_output:
        rows: list[dict[str, Any]] = [
            {"path": str(each.path), "what": each.what, "bytes": each.size} for each in doomed
        ]
        print_json({"type": "plan", "delete": rows})
        return
    for each in doomed:
        size = human_bytes(each.size)
        print(f"{report.printable(str(each.path))}  {size}  {each.what}")
    if not doomed:
        report.say("there is nothing to delete")
