"""The secrets: made once, whole, private."""

from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from janus_core.errors import BadConfiguration, Damaged, NotInitialised
from janus_core.secrets import NAMES, load, load_or_create


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "secrets.json"


def values(path: Path) -> dict[str, str]:
    found = load(path)
    return {name: found[name].get_secret_value() for name in NAMES}


def make(path: Path) -> dict[str, str]:
    load_or_create(path)
    return values(path)


def test_they_are_made_once_and_kept(path: Path) -> None:
    first = make(path)

    assert make(path) == first
    assert len(set(first.values())) == len(NAMES)
    assert all(len(value) >= 43 for value in first.values()), "256 bits each"


def test_only_their_owner_may_read_them(path: Path) -> None:
    old = os.umask(0)
    try:
        make(path)
    finally:
        os.umask(old)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == [path.name], "nothing else is left"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_they_belong_to_whom_the_services_run_as(path: Path) -> None:
    load_or_create(path, (12345, 54321))

    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_eight_starters_get_the_same(path: Path) -> None:
    with ProcessPoolExecutor(8, mp_context=get_context("fork")) as pool:
        made = list(pool.map(make, [path] * 8))

    assert made == [made[0]] * 8
    assert len(list(path.parent.iterdir())) == 1


def test_before_the_first_start_there_are_none(path: Path) -> None:
    with pytest.raises(NotInitialised):
        load(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"relational": "a", "queue": "b", "cac',
        b"[]",
        b'"text"',
        b"null",
        b"{}",
        b'{"relational": "a", "queue": "b"}',
        b'{"relational": "a", "queue": "", "cache": "c"}',
        b'{"relational": "a", "queue": 7, "cache": "c"}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
    ],
)
def test_a_torn_file_is_damage_and_is_not_replaced(path: Path, content: bytes) -> None:
    path.write_bytes(content)

    with pytest.raises(Damaged) as caught:
        load(path)
    with pytest.raises(Damaged):
        load_or_create(path)

    assert caught.value.hint
    assert path.read_bytes() == content


def test_a_place_where_none_can_be_is_bad_configuration(path: Path, tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration):
        load_or_create(tmp_path / "absent" / "secrets.json")
    path.mkdir()
    with pytest.raises(BadConfiguration):
        load(path)


def test_they_are_shown_nowhere(path: Path) -> None:
    made = make(path)
    found = load(path)

    shown = f"{found} {found!r} {[found[name] for name in NAMES]}"

    assert not [value for value in made.values() if value in shown]


def test_they_are_taken_out_of_any_text(path: Path) -> None:
    path.write_text(json.dumps({name: f"s3cret-{name}" for name in NAMES} | {"later": ""}))

    text = load(path).redact("url=redis://:s3cret-queue@x s3cret-cache s3cret-relational.")

    assert text == "url=redis://:***@x *** ***."
