"""Writes docs/cli.md from the help of every command. Run it after changing one:

python docs/generate_cli.py
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("cli.md")
WIDTH = 88

INTRODUCTION = """\
# The commands of Janus

Written by `docs/generate_cli.py` from `--help`; do not edit.

Data goes to stdout, everything else to stderr. `--json` gives one JSON object, or one a
line; with it, errors are one line of JSON on stdout too. Where no terminal is, there is no
colour and no question: a command that would have to ask ends with 2 and names the flag.
`JANUS_HOME` moves everything that Janus keeps under one folder.

| exit code | meaning |
|---|---|
| 0 | fine; also: nothing found, or the documents do not say it |
| 1 | it failed |
| 2 | wrong call |
| 3 | a part failed, or it works with something missing |
| 4 | what was named does not exist |
| 10 | `janus up` was never run here |
| 11 | something else holds what is needed |
| 12 | wrong password |
| 13 | no space |
| 14 | damaged: a checksum, the journal, a bundle |
| 15 | made by a newer version |
| 69 | a service that is needed is down |
| 78 | bad configuration |
| 130 | stopped by Ctrl-C |
"""


def generate() -> str:
    """Return the page as it should be."""
    from typer.main import get_command

    from janus_cli.main import COMMANDS, app

    os.environ["COLUMNS"] = str(WIDTH)
    group: Any = get_command(app)
    parts = [INTRODUCTION, _block("janus", group)]
    task = ""
    for name, (of, _) in COMMANDS.items():
        if of != task:
            task = of
            parts.append(f"# {task}\n")
        for path, command in _walk(name, group.get_command(None, name)):
            parts.append(_block(f"janus {path}", command))
    return "\n".join(parts)


def _walk(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield f"{path} {name}", inner


def _block(path: str, command: Any) -> str:
    settings = {"help_option_names": ["-h", "--help"], "terminal_width": WIDTH}
    context = command.make_context(path, [], resilient_parsing=True, **settings)
    title = "" if path == "janus" else f"## {path}\n\n"
    shown = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    return f"{title}```\n{shown}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(generate(), "utf-8")
