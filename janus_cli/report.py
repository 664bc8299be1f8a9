"""All that goes to stderr, and how an error becomes a line, a hint and an exit code."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from janus_core.errors import JanusError

EXIT_CODES: Mapping[str, int] = {
    "failure": 1,
    "transient_failure": 1,
    "unreadable_document": 1,
    "invalid_input": 2,
    "partial": 3,
    "not_found": 4,
    "not_initialised": 10,
    "locked": 11,
    "wrong_password": 12,
    "no_space": 13,
    "damaged": 14,
    "too_new": 15,
    "store_unavailable": 69,
    "model_unavailable": 69,
    "bad_configuration": 78,
    "interrupted": 130,
}

OK = 0
PARTIAL = 3


def exit_code(code: str) -> int:
    """Given an error's code, return the exit code that scripts rely on."""
    return EXIT_CODES.get(code, 1)


def failure(error: JanusError, *, as_json: bool) -> int:
    """Show an error, as one JSON line on stdout if that was asked for; return the exit code."""
    if as_json:
        line = {"type": "error", "code": error.code, "message": error.message, "hint": error.hint}
        print(json.dumps(line, ensure_ascii=False), flush=True)
    else:
        problem(error.message, error.hint)
    return exit_code(error.code)


def problem(message: str, hint: str = "") -> None:
    """Write one line about what went wrong, and one about what to do, to stderr."""
    say(paint("✗ ", "red") + printable(message))
    if hint:
        say("  " + paint(printable(hint), "dim"))


def say(line: str = "") -> None:
    """Write a line to stderr. A closed stderr is nobody's business."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115


def printable(text: str) -> str:
    """Given any text, return it without bytes that could steer a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "�" for c in text)


_color = "auto"


def choose_color(choice: str) -> None:
    """Take over `--color`: auto, always or never."""
    global _color
    _color = choice


def colored(stream: object = None) -> bool:
    """Return whether a stream (stderr by default) gets colour."""
    if _color != "auto":
        return _color == "always"
    if os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb":
        return False
    return bool(getattr(stream or sys.stderr, "isatty", lambda: False)())


_CODES = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "bold": "1", "dim": "2"}


def paint(text: str, style: str, stream: object = None) -> str:
    """Given text, return it in a style if the stream gets colour."""
    if not colored(stream):
        return text
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m"
