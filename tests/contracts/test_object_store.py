"""What every object store must do; and what the store of files promises beyond."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from janus_core.errors import BadConfiguration, Damaged, NoSpace, NotFound
from janus_core.stores.base import ObjectStore
from janus_core.stores.files import FileObjects

ABSENT = "sha256/00/" + "0" * 64
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can")


def store_bytes(objects: ObjectStore, content: bytes) -> str:
    return objects.put(objects.stage(io.BytesIO(content)))


@pytest.fixture
def files(tmp_path: Path) -> FileObjects:
    return FileObjects(tmp_path / "objects")


def test_what_was_put_can_be_read(objects: ObjectStore) -> None:
    content = os.urandom(3 << 20)

    staged = objects.stage(io.BytesIO(content))
    key = objects.put(staged)

    assert staged.sha256 == hashlib.sha256(content).hexdigest()
    assert staged.size == len(content)
    assert key == f"sha256/{staged.sha256[:2]}/{staged.sha256}"
    with objects.open(key) as stored:
        assert stored.read() == content
    with objects.local(key) as path:
        assert path.read_bytes() == content
    assert objects.exists(key)
    assert objects.verify(key)
    assert list(objects.keys()) == [key]
    assert objects.usage() == (1, len(content))
    assert objects.version()


def test_equal_content_is_one_object(objects: ObjectStore) -> None:
    keys = {store_bytes(objects, b"the same") for _ in range(3)}

    assert list(objects.keys()) == sorted(keys)
    assert len(keys) == 1
    assert objects.usage() == (1, 8)


def test_putting_the_same_staged_bytes_again_changes_nothing(objects: ObjectStore) -> None:
    staged = objects.stage(io.BytesIO(b"once"))

    assert objects.put(staged) == objects.put(staged)
    assert objects.usage() == (1, 4)


def test_equal_content_from_many_threads_is_one_whole_object(objects: ObjectStore) -> None:
    content, keys = os.urandom(1 << 18), list[str]()
    threads = [
        threading.Thread(target=lambda: keys.append(store_bytes(objects, content)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len(keys) == 8
    assert len(set(keys)) == 1
    assert objects.verify(keys[0])
    assert objects.usage() == (1, len(content))


def test_discarded_bytes_leave_nothing(objects: ObjectStore) -> None:
    staged = objects.stage(io.BytesIO(b"never mind"))

    objects.discard(staged)
    objects.discard(staged)

    assert not staged.path.exists()
    assert list(objects.keys()) == []
    with pytest.raises(NotFound):
        objects.put(staged)


def test_a_source_that_fails_leaves_nothing(files: FileObjects, tmp_path: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        files.stage(Broken())

    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_deleting_is_for_good_and_may_be_repeated(objects: ObjectStore) -> None:
    key, other = store_bytes(objects, b"one"), store_bytes(objects, b"two")

    objects.delete(key)
    objects.delete(key)
    objects.delete(ABSENT)

    assert list(objects.keys()) == [other]
    assert not objects.exists(key)


def test_an_absent_object_is_not_found(objects: ObjectStore) -> None:
    assert not objects.exists(ABSENT)
    with pytest.raises(NotFound):
        objects.open(ABSENT)
    with pytest.raises(NotFound), objects.local(ABSENT):
        pass
    with pytest.raises(NotFound):
        objects.verify(ABSENT)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "../secrets.json",
        "sha256/../../secrets.json",
        "/etc/passwd",
        "sha256/00/" + "1" * 64,  # in the wrong folder
        ABSENT.upper(),
        ABSENT + "\n",
        ABSENT + "/..",
        ABSENT + "\0",
        "sha256/00/" + "0" * 63,
        "staging/x",
    ],
)
def test_impossible_keys_are_refused(objects: ObjectStore, key: str) -> None:
    store_bytes(objects, b"something")
    with pytest.raises(Damaged):
        objects.open(key)
    with pytest.raises(Damaged), objects.local(key):
        pass
    for call in (objects.exists, objects.verify, objects.delete):
        with pytest.raises(Damaged):
            call(key)


def test_changed_bytes_are_noticed_and_healed_by_putting_them_again(files: FileObjects) -> None:
    key = store_bytes(files, b"a valuable original")
    with files.local(key) as path:
        path.write_bytes(b"a valuable 0riginal")

    assert not files.verify(key)
    store_bytes(files, b"a valuable original")
    assert files.verify(key)


def test_only_the_owner_may_read_objects(files: FileObjects, tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        staged = files.stage(io.BytesIO(b"private"))
        assert stat.S_IMODE(staged.path.stat().st_mode) == 0o600
        files.put(staged)
    finally:
        os.umask(old)

    for path in (tmp_path / "objects").rglob("*"):
        expected = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


@as_root
def test_what_root_stores_belongs_to_the_owner_of_the_folder(tmp_path: Path) -> None:
    root = tmp_path / "objects"
    root.mkdir()
    os.chown(root, 12345, 54321)

    store_bytes(FileObjects(root), b"for the service")

    for path in root.rglob("*"):
        assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321), path


@as_root
def test_a_link_in_the_folder_does_not_lead_root_astray(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "objects", tmp_path / "elsewhere"
    elsewhere.mkdir()
    root.mkdir()
    os.chown(root, 12345, 54321)
    (root / "staging").symlink_to(elsewhere)

    with pytest.raises(BadConfiguration, match="link"):
        FileObjects(root).stage(io.BytesIO(b"content"))

    assert list(elsewhere.iterdir()) == []
    assert elsewhere.stat().st_uid == 0


def test_a_process_killed_between_stage_and_put_leaves_no_object(
    files: FileObjects, tmp_path: Path
) -> None:
    pid = os.fork()
    if pid == 0:
        files.stage(io.BytesIO(b"half done"))
        os.kill(os.getpid(), signal.SIGKILL)
    _, status = os.waitpid(pid, 0)

    assert os.WTERMSIG(status) == signal.SIGKILL
    assert list(files.keys()) == []
    assert files.usage() == (0, 0)
    left = list((tmp_path / "objects" / "staging").iterdir())
    assert len(left) == 1
    assert files.sweep_staging() == 0
    assert files.sweep_staging(time.time() + 25 * 3600) == 1
    assert list((tmp_path / "objects" / "staging").iterdir()) == []


def test_strange_files_in_the_folder_are_no_objects(files: FileObjects, tmp_path: Path) -> None:
    key = store_bytes(files, b"content")
    folder = tmp_path / "objects" / Path(key).parent
    (folder / "notes.txt").write_text("by hand")
    (folder / ("f" * 64)).mkdir()

    assert list(files.keys()) == [key]
    assert files.usage() == (1, 7)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one MiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or mount is None or subprocess.run(command, check=False).returncode:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_said_and_survived(tiny_disk: Path) -> None:
    files = FileObjects(tiny_disk / "objects")
    key = store_bytes(files, b"x" * 1000)

    with pytest.raises(NoSpace) as caught:
        store_bytes(files, os.urandom(2 << 20))

    assert caught.value.hint
    assert list((tiny_disk / "objects" / "staging").iterdir()) == []
    assert files.verify(key)
    assert store_bytes(files, b"y" * 1000) != key


def test_a_folder_that_may_not_be_used_is_bad_configuration(tmp_path: Path) -> None:
    root = tmp_path / "objects"
    key = store_bytes(FileObjects(root), b"content")
    if os.geteuid() == 0:  # root may read everything: ask as somebody else
        tmp_path.chmod(0o755)
        for parent in tmp_path.parents:
            if parent.stat().st_uid == 0 and parent != Path("/tmp"):
                parent.chmod(parent.stat().st_mode | 0o011)
    else:
        root.chmod(0)
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            files = FileObjects(root)
            calls = (
                lambda: files.stage(io.BytesIO(b"x")),
                lambda: files.open(key),
                lambda: files.local(key).__enter__(),
                lambda: files.exists(key),
                lambda: files.delete(key),
                lambda: list(files.keys()),
                files.version,
            )
            for status, call in enumerate(calls, start=1):  # noqa: B007 (seen if a call raises)
                with pytest.raises(BadConfiguration):
                    call()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    root.chmod(0o700)

    assert os.waitstatus_to_exitcode(status) == 0, "number of the call that did not say so"
