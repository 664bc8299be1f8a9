"""Events as they happen: a line for a terminal, NDJSON for a script."""

from __future__ import annotations

import sys
from collections.abc import Callable

from janus_cli import report
from janus_core.events import Event, ServiceChanged, Sink, StepEnded, Trouble

_GLYPHS = {
    "up": ("✓", "green"),
    "starting": ("…", "dim"),
    "degraded": ("▲", "yellow"),
    "down": ("✗", "red"),
}


def sink_for(json_output: bool) -> Sink:
    """Return the sink of a command: NDJSON on stdout, or lines on stderr."""
    return ndjson if json_output else lines


def ndjson(event: Event) -> None:
    """Write an event as one line of JSON to stdout."""
    print(event.model_dump_json(), flush=True)


def lines(event: Event) -> None:
    """Write what a person wants to know of an event to stderr."""
    if isinstance(event, ServiceChanged):
        if event.state != "starting":
            report.say(f"{glyph(event.state)} {event.name:<10} {report.printable(event.detail)}")
    elif isinstance(event, Trouble):
        report.problem(event.message, event.hint)


def steps(event: Event) -> None:
    """Write an agent's finished steps as well."""
    if isinstance(event, StepEnded):
        mark = glyph("down") if event.failed else report.paint("▸", "cyan")
        took = f"{event.took_ms / 1000:.1f} s"
        report.say(f"{mark} {event.agent:<11} {report.printable(event.summary)}  {took}")
    else:
        lines(event)


def glyph(state: str, stream: object = None) -> str:
    """Given a service's state, return its sign; never only a colour."""
    sign, style = _GLYPHS[state]
    return report.paint(sign, style, stream)


class ProgressLine:
    """One line on a terminal that is written over; silent elsewhere."""

    def __init__(self, format_line: Callable[[], str]) -> None:
        self._format = format_line
        self._live = sys.stderr.isatty() and report.colored()
        self._width = 0

    def update(self) -> None:
        """Draw the line again."""
        if not self._live:
            return
        import shutil

        line = report.printable(self._format())[: shutil.get_terminal_size().columns - 1]
        padding = " " * max(0, self._width - len(line))
        self._width = len(line)
        print(f"\r{line}{padding}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Take the line away."""
        if self._live and self._width:
            print("\r" + " " * self._width + "\r", end="", file=sys.stderr, flush=True)
            self._width = 0
