"""janus up: bring the stack up."""

from __future__ import annotations

from typing import Annotated

import typer

from janus_cli import report
from janus_cli.render.live import sink_for
from janus_cli.session import command, print_json

app = typer.Typer()


@app.command(
    epilog="Examples:  janus up   ·   janus up --json   ·   JANUS_HOME=/mnt/usb/janus janus up"
)
@command
def up(
    profile: Annotated[
        str | None, typer.Option(help="embedded or external; the first `up` decides and keeps it.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="NDJSON events.")] = False,
) -> int:
    """Bring the stack up; quick when it is up already."""
    import time

    from janus_core.app import open_janus
    from janus_core.node.profile import bring_up

    began = time.monotonic()
    with open_janus() as janus:
        outcome = bring_up(janus, profile, sink_for(json_output))
    took_ms = round((time.monotonic() - began) * 1000)
    if json_output:
        print_json(
            {
                "type": "result",
                "profile": outcome.profile,
                "why": outcome.why,
                "healthy": outcome.healthy,
                "took_ms": took_ms,
            }
        )
    else:
        ready = "ready" if outcome.healthy else "up, but not everything works (janus status)"
        report.say(f"{ready} in {took_ms / 1000:.1f} s · {outcome.profile}: {outcome.why}")
    return report.OK if outcome.healthy else report.PARTIAL
