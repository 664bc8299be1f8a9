"""Original files in a folder, by content: `sha256/ab/abcdef…`.

An object appears under its name only when all its bytes are on disk: written to
a temporary file, synced, renamed, and the folder synced.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from janus_core.documents import content_hash
from janus_core.errors import BadConfiguration, Damaged, JanusError, NoSpace, NotFound
from janus_core.processes import sync_folder
from janus_core.stores.base import Staged

_KEY = re.compile(r"sha256/([0-9a-f]{2})/(\1[0-9a-f]{62})")
_BLOCK = 1 << 20
_ABANDONED_S = 24 * 3600


class FileObjects:
    """The ObjectStore port on a local folder.

    When root writes, files go to the owner of the folder, because the services
    run as a user of their own.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._staging = root / "staging"

    def stage(self, source: BinaryIO) -> Staged:
        """See ObjectStore."""
        with _translated(self._root):
            self._make_folder(self._staging)
            handle, name = tempfile.mkstemp(dir=self._staging)
            path, digest, size = Path(name), hashlib.sha256(), 0
            try:
                with os.fdopen(handle, "wb") as target:
                    self._give_to_owner(handle)
                    while block := source.read(_BLOCK):
                        digest.update(block)
                        target.write(block)
                        size += len(block)
                    target.flush()
                    os.fsync(target.fileno())
            except BaseException:
                path.unlink(missing_ok=True)
                raise
        return Staged(path, digest.hexdigest(), size)

    def discard(self, staged: Staged) -> None:
        """See ObjectStore."""
        staged.path.unlink(missing_ok=True)

    def put(self, staged: Staged) -> str:
        """See ObjectStore."""
        key = f"sha256/{staged.sha256[:2]}/{staged.sha256}"
        final = self._root / key
        with _translated(self._root):
            self._make_folder(final.parent)
            try:
                staged.path.replace(final)
            except FileNotFoundError as error:
                if not final.exists():
                    raise NotFound(
                        "the staged file is gone", "Ingest the document again."
                    ) from error
            sync_folder(final.parent)
        return key

    def open(self, key: str) -> BinaryIO:
        """See ObjectStore."""
        path = self._path(key)
        with _translated(self._root):
            try:
                return path.open("rb")
            except FileNotFoundError as error:
                raise NotFound(f"no such object: {key}", "Run: janus doctor") from error

    @contextlib.contextmanager
    def local(self, key: str) -> Iterator[Path]:
        """See ObjectStore."""
        if not self.exists(key):
            raise NotFound(f"no such object: {key}", "Run: janus doctor")
        yield self._path(key)

    def exists(self, key: str) -> bool:
        """See ObjectStore."""
        path = self._path(key)
        with _translated(self._root):
            return path.is_file()

    def verify(self, key: str) -> bool:
        """See ObjectStore."""
        with self.open(key) as stored:
            return content_hash(stored) == key.rsplit("/", 1)[1]

    def delete(self, key: str) -> None:
        """See ObjectStore."""
        path = self._path(key)
        with _translated(self._root):
            path.unlink(missing_ok=True)
            if path.parent.is_dir():
                sync_folder(path.parent)

    def keys(self) -> Iterator[str]:
        """See ObjectStore."""
        # Not by glob(), which takes a folder that it may not read for an empty one.
        for folder in self._list(self._root / "sha256"):
            for path in self._list(folder):
                key = path.relative_to(self._root).as_posix()
                if _KEY.fullmatch(key) and path.is_file():
                    yield key

    def usage(self) -> tuple[int, int]:
        """See ObjectStore."""
        number = size = 0
        for key in self.keys():
            with contextlib.suppress(FileNotFoundError):
                size += self._path(key).stat().st_size
                number += 1
        return number, size

    def version(self) -> str:
        """See ObjectStore."""
        if not os.access(self._root, os.R_OK | os.X_OK):
            raise BadConfiguration(f"cannot read the object folder {self._root}", "Run: janus up")
        return "files"

    def sweep_staging(self, now: float | None = None) -> int:
        """Delete staged files that a killed process left a day ago; return how many."""
        limit = (time.time() if now is None else now) - _ABANDONED_S
        swept = 0
        for path in self._list(self._staging):
            with contextlib.suppress(FileNotFoundError):  # it just became an object
                if path.stat().st_mtime < limit:
                    path.unlink()
                    swept += 1
        return swept

    def _list(self, folder: Path) -> list[Path]:
        with _translated(self._root), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return sorted(folder.iterdir())
        return []

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise Damaged(f"not an object key: {key!r}")
        return self._root / key

    def _make_folder(self, folder: Path) -> None:
        missing = [p for p in (folder, *folder.parents) if not p.exists()]
        for path in reversed(missing):
            with contextlib.suppress(FileExistsError):
                path.mkdir(mode=0o700)
                handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                try:
                    self._give_to_owner(handle)
                finally:
                    os.close(handle)
                sync_folder(path.parent)
        # Whoever owns the folder could otherwise have root write anywhere.
        for path in (folder, *folder.parents):
            if path == self._root:
                return
            if path.is_symlink():
                raise BadConfiguration(
                    f"{path} is a symbolic link", "Move the folder itself to where it shall be."
                )

    def _give_to_owner(self, handle: int) -> None:
        if os.geteuid() == 0:
            owner = self._root.stat()
            os.fchown(handle, owner.st_uid, owner.st_gid)


@contextlib.contextmanager
def _translated(root: Path) -> Iterator[None]:
    try:
        yield
    except JanusError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(
                f"the disk under {root} is full", "Free some space, then run the command again."
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise BadConfiguration(
                f"cannot use the object folder {root}: {error.strerror}",
                "Run Janus as the user who brought it up.",
            ) from error
        raise
