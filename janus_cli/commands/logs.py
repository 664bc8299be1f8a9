"""janus logs: what the services write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from janus_cli import report
from janus_cli.session import command, opened, print_json

if TYPE_CHECKING:
    from janus_core.node.logs import LogLine

app = typer.Typer()


@app.command(
    epilog="Examples:  janus logs   ·   janus logs worker -n 200   ·   janus logs postgres -f"
)
@command
def logs(
    service: Annotated[
        str | None, typer.Argument(help="One of those that `janus status` names; else all.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new lines.")] = False,
    number: Annotated[int, typer.Option("-n", min=0, help="How many of the last lines.")] = 20,
    json_output: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show the last lines that each service wrote."""
    from janus_core.node.logs import Logs

    with opened(up=False) as janus:
        found = Logs(janus, service)
        for line in found.last(number):
            _show(line, json_output, named=service is None)
        if follow:
            for line in found.follow():
                _show(line, json_output, named=service is None)


def _show(line: LogLine, json_output: bool, *, named: bool) -> None:
    if json_output:
        print_json({"service": line.service, "line": line.text})
    else:
        prefix = f"{line.service:<10} " if named else ""
        print(prefix + report.printable(line.text), flush=True)
