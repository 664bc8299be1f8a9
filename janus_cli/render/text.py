"""Numbers, times and tables as people read them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from janus_cli import report

if TYPE_CHECKING:
    from collections.abc import Iterable


def human_bytes(number: int) -> str:
    """Given bytes, return them in the unit that fits, such as `12.3 MB`."""
    size = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def local_time(moment: datetime) -> str:
    """Given a moment, return it in this machine's time zone, to the second."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def table(rows: Iterable[Sequence[str]]) -> None:
    """Print rows in columns to stdout, the last column cut at a terminal's width.

    A pipe gets everything, tab-separated.
    """
    cleaned = [[" ".join(report.printable(cell).split()) for cell in row] for row in rows]
    if not cleaned:
        return
    if not sys.stdout.isatty():
        for row in cleaned:
            print("\t".join(row))
        return
    widths = [max(len(row[n]) for row in cleaned) for n in range(len(cleaned[0]) - 1)]
    screen = shutil.get_terminal_size().columns
    for row in cleaned:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  ".join([*cells, row[-1]])[:screen].rstrip())
