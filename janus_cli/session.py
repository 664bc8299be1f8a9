"""Opens the core for one command, and turns what goes wrong into an exit code."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

import typer

from janus_cli import report

if TYPE_CHECKING:
    from janus_core.app import Janus

P = ParamSpec("P")


@contextmanager
def opened(*, up: bool = True) -> Iterator[Janus]:
    """Give the core for the length of a command.

    With `up`, raise NotInitialised or StoreUnavailable at once unless the
    truth store can be used.
    """
    from janus_core.app import open_janus

    with open_janus() as janus:
        if up:
            janus.require_up()
        yield janus


def command(run: Callable[P, int | None]) -> Callable[P, None]:
    """Make a function that returns an exit code (None: 0) a command.

    Every error of the core becomes its line, its hint and its exit code; with
    `json_output=True` among the arguments, a JSON line on stdout.
    """

    @wraps(run)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        from janus_core.errors import JanusError

        as_json = bool(kwargs.get("json_output"))
        try:
            code = run(*args, **kwargs)
        except JanusError as error:
            raise typer.Exit(report.failure(error, as_json=as_json)) from None
        except KeyboardInterrupt:
            # A second Ctrl-C must not wait for anything.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            report.say()
            report.problem(
                "interrupted", "What was accepted is safe; run the command again to go on."
            )
            raise typer.Exit(report.EXIT_CODES["interrupted"]) from None
        except BrokenPipeError:
            _mute_stdout()
            raise typer.Exit(report.OK) from None
        raise typer.Exit(code or 0)

    return wrapper


def confirmed(question: str, *, yes: bool, flag: str = "--yes") -> bool:
    """Ask before something is destroyed. Without a terminal it is a usage error."""
    import sys

    if yes:
        return True
    if not sys.stdin.isatty():
        from janus_core.errors import InvalidInput

        raise InvalidInput("this needs a confirmation", f"Add {flag}.")
    return typer.confirm(question, err=True)


def print_json(value: Any) -> None:
    """Write one JSON value as one line to stdout."""
    import json

    print(json.dumps(value, ensure_ascii=False, default=str), flush=True)


def _mute_stdout() -> None:
    """Whoever read our output has gone: nothing more is written, and no error at exit."""
    import os
    import sys

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
