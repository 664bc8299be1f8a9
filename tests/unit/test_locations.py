"""Where the files of an installation are."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from janus_core.errors import BadConfiguration
from janus_core.locations import locate, packaged


def test_janus_home_moves_everything_but_the_sockets(tmp_path: Path) -> None:
    found = locate({"JANUS_HOME": str(tmp_path)})

    for folder in (found.config, found.data, found.state, found.models, found.logs):
        assert folder.is_relative_to(tmp_path)
    assert found.settings_file == tmp_path / "config" / "janus.toml"
    assert found.secrets_file.parent == found.config
    assert not found.runtime.is_relative_to(tmp_path)


def test_two_homes_have_sockets_apart_and_one_has_always_the_same(tmp_path: Path) -> None:
    one, two = ({"JANUS_HOME": str(tmp_path / name)} for name in ("one", "two"))

    assert locate(one).runtime != locate(two).runtime
    assert locate(one).runtime == locate(one).runtime
    (tmp_path / "one").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "one")
    assert locate({"JANUS_HOME": str(tmp_path / "link")}).runtime == locate(one).runtime


def test_sockets_have_short_paths_however_long_the_home(tmp_path: Path) -> None:
    environ = {"JANUS_HOME": str(tmp_path / ("long" * 40)), "XDG_RUNTIME_DIR": "/run/" + "x" * 90}

    longest = locate(environ).runtime / ".s.PGSQL.5432.lock"

    assert len(os.fsencode(longest)) < 108


@pytest.mark.parametrize("home", ["relative", "./here", "../x", "~nobody-of-this-name/x"])
def test_a_home_that_is_not_absolute_is_refused(home: str) -> None:
    with pytest.raises(BadConfiguration) as caught:
        locate({"JANUS_HOME": home})

    assert home in caught.value.message


def test_the_home_may_begin_with_a_tilde() -> None:
    assert locate({"JANUS_HOME": "~/janus"}).config == Path.home() / "janus" / "config"


def test_a_relative_runtime_folder_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: 1234)

    found = locate({"JANUS_HOME": str(tmp_path), "XDG_RUNTIME_DIR": "run"})

    assert found.runtime.parent == Path("/tmp/janus-1234")


def test_a_usable_runtime_folder_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1234)

    found = locate({"JANUS_HOME": str(tmp_path), "XDG_RUNTIME_DIR": "/tmp"})

    assert found.runtime.parent == Path("/tmp/janus")


def test_a_child_process_gets_the_very_same_folders(tmp_path: Path) -> None:
    mine = locate({"JANUS_HOME": str(tmp_path / "with 'quotes', \\ and ö")})

    assert locate(mine.to_environment()) == mine
    assert locate(mine.to_environment() | {"JANUS_HOME": "/elsewhere"}) == mine


@pytest.mark.skipif(os.geteuid() != 0, reason="about root")
def test_root_uses_the_systems_places() -> None:
    found = locate({})

    assert found.config == Path("/etc/janus")
    assert found.data == Path("/var/lib/janus")


def test_folders_do_not_contain_one_another(tmp_path: Path) -> None:
    """A backup of the data must hold no models, nor logs."""
    for environ in ({"JANUS_HOME": str(tmp_path)}, {"HOME": str(tmp_path)}):
        folders = dataclasses.astuple(locate(environ))
        for one in folders:
            assert not [o for o in folders if o != one and o.is_relative_to(one)], environ


def test_what_is_packaged_is_found() -> None:
    assert list(packaged("migrations").glob("versions/0001*.py"))
    with pytest.raises(BadConfiguration):
        packaged("absent")
