"""One document being read by the parsing child, as its parent sees it."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from janus_core.documents import Page
from janus_core.errors import TransientFailure, UnreadableDocument
from janus_core.ingestion.extract.base import Limits, title_or_name
from janus_core.ingestion.extract.clean import safe_line, safe_text
from janus_core.ingestion.extract.frames import Decoder, Frame, read_frame, whole
from janus_core.ingestion.extract.registry import FORMATS

_END_SECONDS = 10.0
_READ = 1 << 16
# A parser does not do these to itself: someone, or a system short of memory, did.
_FROM_OUTSIDE = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
_SPLIT_HINT = "Split the file into smaller ones, or print it to a new PDF."


class Extraction(Iterator[Page]):
    """A document being read: iterate over it for its pages; close it when done.

    Known from the start: `media_type`, `title`, `total_pages` (of the whole document),
    `parser` (its name and version, for the chunk recipe), `marks_headings`. `notes`
    (remarks for people) is complete when the pages are exhausted.

    Iterating may raise UnreadableDocument (permanent) or TransientFailure.
    """

    def __init__(
        self,
        pages: socket.socket,
        control: socket.socket,
        name: str,
        start_page: int,
        on_pages: Callable[[int, int], None] | None,
        limits: Limits,
    ) -> None:
        self._pages, self._control = pages, control
        self._name, self._limits, self._on_pages = safe_line(name), limits, on_pages
        self._decoder = Decoder(limits.page_bytes * 2 + 4096)  # JSON escapes at most double text
        self._next_page = start_page
        self._text_bytes = 0
        self._batch_left, self._seconds_left = limits.batch_pages, limits.batch_seconds
        self._closed = False
        self.notes: list[str] = []
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        frame = self._frame("opened")
        form = next((form for form in FORMATS if form.media_type == frame.get("media_type")), None)
        if form is None:
            raise self._babble()
        self.media_type, self.parser = form.media_type, form.parser
        self.marks_headings = form.marks_headings
        self.title = title_or_name(str(frame.get("title")), self._name)
        self.total_pages = whole(frame.get("total"))
        if self.total_pages > self._limits.pages:
            raise self._unreadable(f"it has more than {self._limits.pages:,} pages", _SPLIT_HINT)
        confined = frame.get("confined")
        self.confined = (
            {str(name): bool(held) for name, held in confined.items()}
            if isinstance(confined, dict)
            else {}
        )

    def __next__(self) -> Page:
        if self._closed:
            raise StopIteration
        try:
            while (frame := self._frame("page", "note", "done"))["kind"] == "note":
                self.notes.append(safe_line(str(frame.get("text")))[:500])
            if frame["kind"] == "done":
                raise StopIteration
            page = self._page(frame)
        except BaseException:
            self.close()
            raise
        if self._on_pages:
            self._on_pages(page.number, self.total_pages)
        return page

    def _page(self, frame: Frame) -> Page:
        label = frame.get("label")
        page = Page(
            whole(frame.get("number")),
            safe_text(str(frame.get("text"))),
            None if label is None else safe_line(str(label))[:40],
        )
        if page.number != self._next_page:
            raise self._babble()
        size = len(page.text.encode())
        self._text_bytes += size
        if size > self._limits.page_bytes * 2 or self._text_bytes > self._limits.text_bytes:
            megabytes = self._limits.text_bytes >> 20
            raise self._unreadable(f"it holds more than {megabytes} MB of text", _SPLIT_HINT)
        if page.number > self._limits.pages:
            raise self._unreadable(f"it has more than {self._limits.pages:,} pages", _SPLIT_HINT)
        self._next_page += 1
        self._batch_left -= 1
        if not self._batch_left:
            self._batch_left = self._limits.batch_pages
            self._seconds_left = self._limits.batch_seconds
        return page

    def _frame(self, *expected: str) -> Frame:
        """Return the child's next frame if it is of an expected kind, else raise what it means."""
        frame = self._receive()
        if frame is None:
            raise self._post_mortem()
        kind = frame.get("kind")
        if kind in expected:
            return frame
        if kind == "unreadable":
            message = safe_line(str(frame.get("message")))[:500]
            raise self._unreadable(message, safe_line(str(frame.get("hint")))[:500])
        if kind == "memory":
            raise self._too_large()
        if kind == "io":
            raise TransientFailure(
                f"{self._name} could not be read: {safe_line(str(frame.get('message')))[:200]}",
                "Check the disk it lies on; the job is tried again.",
            )
        raise self._babble()

    def _receive(self) -> Frame | None:
        """Wait for a whole frame; none when the child ended. Raise when its time is up."""
        while True:
            try:
                if frame := self._decoder.next():
                    return frame
            except ValueError as error:
                raise self._babble() from error
            started = time.monotonic()
            self._pages.settimeout(max(0.001, self._seconds_left))
            try:
                data = self._pages.recv(_READ)
            except TimeoutError as error:
                seconds = self._limits.batch_seconds
                raise self._unreadable(
                    f"it took more than {seconds:g} s on page {self._next_page}", _SPLIT_HINT
                ) from error
            self._seconds_left -= time.monotonic() - started
            if not data:
                return None
            self._decoder.feed(data)

    def _post_mortem(self) -> UnreadableDocument | TransientFailure:
        """Given that the child ended before it was done, return the reason."""
        self._control.settimeout(_END_SECONDS)
        try:
            ended = read_frame(self._control)
        except (OSError, ValueError) as error:
            failure = self._interrupted()
            failure.__cause__ = error
            return failure
        number, peak = whole(ended.get("signal")), whole(ended.get("peak"))
        if ended.get("swollen") or (number and peak > 0.75 * self._limits.memory_bytes):
            return self._too_large()
        if number == signal.SIGXCPU:
            return self._unreadable(
                f"it took more than {self._limits.cpu_seconds} s of computing", _SPLIT_HINT
            )
        if number in _FROM_OUTSIDE:
            return self._interrupted()
        names = {int(known): known.name for known in signal.Signals}
        how = names.get(number, f"signal {number}, exit status {ended.get('status')}")
        return self._unreadable(
            f"the parser crashed on page {self._next_page} ({how})",
            "The file is damaged or hostile; get another copy of it.",
        )

    def _interrupted(self) -> TransientFailure:
        return TransientFailure(
            f"the process that read {self._name} was killed on page {self._next_page}",
            "It is started again; the job is tried again.",
        )

    def _too_large(self) -> UnreadableDocument:
        megabytes = self._limits.memory_bytes >> 20
        return self._unreadable(
            f"it needed more than {megabytes} MB on page {self._next_page}", _SPLIT_HINT
        )

    def _babble(self) -> UnreadableDocument:
        return self._unreadable(
            f"the parser gave nonsense on page {self._next_page}", "The file may be hostile."
        )

    def _unreadable(self, message: str, hint: str) -> UnreadableDocument:
        return UnreadableDocument(f"{self._name} cannot be read: {message}", hint)

    def close(self) -> None:
        """Stop reading. The child is killed if it still runs. Safe to call again."""
        self._closed = True
        self._pages.close()
        self._control.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()
