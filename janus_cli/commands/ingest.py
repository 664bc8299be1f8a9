"""janus ingest: take files and folders in."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from janus_cli import report
from janus_cli.render.live import ProgressLine, ndjson
from janus_cli.session import command, opened, print_json

if TYPE_CHECKING:
    from janus_core.app import Janus
    from janus_core.events import Event
    from janus_core.ingestion.follow import Follower
    from janus_core.ingestion.intake import Intake, Taken
    from janus_core.queue.jobs import JobRow

app = typer.Typer()


@app.command(
    epilog="Examples:  janus ingest ~/manuals   ·   janus ingest notes.md --collection field"
    " --tag site=north   ·   janus ingest ~/manuals --no-wait"
)
@command
def ingest(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Files and folders.", show_default=False)
    ] = None,
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", help="Where they belong.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="key=value, for filters.")] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Try again what failed earlier.")
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Return when everything is accepted.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="NDJSON events.")] = False,
) -> int:
    """Take files and folders in: text, Markdown, HTML and PDF.

    Unchanged files are skipped, changed ones replace their older version when
    they are ready. What was accepted survives any crash.
    """
    from janus_core.documents import parse_tags
    from janus_core.errors import InvalidInput

    if not paths and not failed:
        raise InvalidInput("nothing to ingest", "Name files or folders: janus ingest ~/documents")
    tags = dict(parse_tags(tag or []))
    with opened() as janus:
        summary = Summary(json_output)
        intake = janus.intake(collection or janus.settings.collection, tags)
        take_in(janus, intake, paths or [], summary, failed=failed, wait=not no_wait)
        summary.show(no_wait=no_wait)
        return report.PARTIAL if summary.failed else report.OK


def take_in(
    janus: Janus,
    intake: Intake,
    paths: list[Path],
    summary: Summary,
    *,
    failed: bool = False,
    wait: bool = True,
) -> None:
    """Take files in, and wait for their jobs, telling `summary` what becomes of them.

    With `failed`, also what failed earlier in the same collection.
    """
    from janus_core.ingestion.follow import Follower
    from janus_core.ingestion.intake import find_files

    with Follower(janus.database, janus.live, summary.on_event) as follower:
        for taken in intake.take(find_files(paths)):
            summary.on_taken(taken, follower)
        for taken in intake.take_failed() if failed else ():
            summary.on_taken(taken, follower)
        if wait:
            for row in follower.wait(summary.waiting):
                summary.on_over(row)


class Summary:
    """What became of each file, counted and shown as it happens."""

    def __init__(self, json_output: bool) -> None:
        self._json = json_output
        self._began = time.monotonic()
        self._line = ProgressLine(self._describe)
        self._now = ""
        self._paths: dict[uuid.UUID, tuple[str, str]] = {}
        self.waiting: list[uuid.UUID] = []
        self.failed: list[dict[str, str]] = []
        self.counts = {"added": 0, "replaced": 0, "unchanged": 0}
        self.files = self.pages = self.chunks = self.over = 0

    def on_taken(self, taken: Taken, follower: Follower) -> None:
        """Count a file that was looked at."""
        self.files += 1
        if taken.outcome == "failed":
            self._fail(taken.path, taken.reason, taken.hint)
        elif taken.job_id is None:
            self.counts["unchanged"] += 1
        else:
            self.waiting.append(taken.job_id)
            self._paths[taken.job_id] = (taken.path, taken.outcome)
            follower.add(taken.job_id)
        self._line.update()

    def on_event(self, event: Event) -> None:
        """Show what a worker does right now."""
        from janus_core.events import Progress

        if self._json:
            ndjson(event)
        elif isinstance(event, Progress):
            total = f"/{event.total}" if event.total else ""
            name = event.uri.rsplit("/", 1)[-1]
            self._now = f"{name}: {event.stage} {event.done}{total} {event.unit}"
            self._line.update()

    def on_over(self, row: JobRow) -> None:
        """Count a job that ended."""
        self.over += 1
        path, outcome = self._paths[row.id]
        if row.state == "done":
            self.counts[outcome] += 1
            self.pages += row.pages
            self.chunks += row.chunks
        else:
            self._fail(path, row.reason, row.hint)
        self._line.update()

    def show(self, *, no_wait: bool) -> None:
        """Print the result."""
        self._line.clear()
        queued = len(self.waiting) - self.over
        result: dict[str, Any] = {
            "type": "result",
            "files": self.files,
            **self.counts,
            "queued": queued,
            "failed": self.failed,
            "chunks": self.chunks,
            "pages": self.pages,
            "took_ms": round((time.monotonic() - self._began) * 1000),
        }
        if self._json:
            print_json(result)
            return
        parts = [f"{number} {what}" for what, number in self.counts.items() if number]
        parts += [f"{queued} queued"] if no_wait and queued else []
        parts += [f"{len(self.failed)} failed"] if self.failed else []
        seconds = result["took_ms"] / 1000
        print(
            f"{self.files} files: {', '.join(parts) or 'nothing to do'}"
            f" · {self.pages} pages · {self.chunks} chunks · {seconds:.1f} s"
        )

    def _fail(self, path: str, reason: str, hint: str) -> None:
        self.failed.append({"path": path, "reason": reason, "hint": hint})
        if not self._json:
            self._line.clear()
            report.problem(f"{path}: {reason}", hint)

    def _describe(self) -> str:
        done = self.over + self.counts["unchanged"] + len(self.failed)
        width = 20
        filled = width * done // max(1, self.files)
        bar = "█" * filled + "░" * (width - filled)
        return f"{bar} {done}/{self.files} files · {self.chunks} chunks  {self._now}"
