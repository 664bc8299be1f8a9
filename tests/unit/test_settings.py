"""Settings: who wins, where each value is from, and whom not to trust."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from janus_core.errors import BadConfiguration
from janus_core.locations import Locations, locate
from janus_core.settings import LoadedSettings, Settings, flat, load_settings

SECRET_URL = "postgresql+psycopg://me:hush-hush@db.example/janus"


class Desk:
    """A user's configuration folder and a project folder."""

    def __init__(self, root: Path) -> None:
        self.locations: Locations = locate({"JANUS_HOME": str(root / "home")})
        self.locations.config.mkdir(parents=True)
        self.project = root / "project"
        self.project.mkdir()
        self.user_file = self.locations.settings_file
        self.project_file = self.project / "janus.toml"

    def load(self, environ: dict[str, str] | None = None, **flags: Any) -> LoadedSettings:
        named = {name.replace("__", "."): value for name, value in flags.items()}
        return load_settings(
            self.locations, environ=environ or {}, project=self.project, flags=named
        )

    def refused(self, environ: dict[str, str] | None = None, **flags: Any) -> str:
        """Load settings that are wrong; return the whole report, causes included."""
        with pytest.raises(BadConfiguration) as caught:
            self.load(environ, **flags)
        assert caught.value.hint
        return "".join(traceback.format_exception(caught.value.__cause__)) + caught.value.message


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_everything_has_a_default(desk: Desk) -> None:
    loaded = desk.load()

    assert loaded.settings == Settings()
    assert loaded.origins == {}
    assert loaded.origin("chat.context") == "default"


def test_each_source_wins_over_the_one_below(desk: Desk) -> None:
    assert desk.load().settings.chat.context == 4096

    desk.user_file.write_text("[chat]\ncontext = 1001\nthreads = 1\n")
    assert desk.load().settings.chat.context == 1001
    assert desk.load().origin("chat.context") == str(desk.user_file)

    desk.project_file.write_text("[chat]\ncontext = 1002\n")
    assert desk.load().settings.chat.context == 1002
    assert desk.load().origin("chat.context") == str(desk.project_file)
    assert desk.load().settings.chat.threads == 1
    assert desk.load().origin("chat.threads") == str(desk.user_file)

    environ = {"JANUS_CHAT__CONTEXT": "1003"}
    assert desk.load(environ).settings.chat.context == 1003
    assert desk.load(environ).origin("chat.context") == "JANUS_CHAT__CONTEXT"

    assert desk.load(environ, chat__context=1004).settings.chat.context == 1004
    assert desk.load(environ, chat__context=1004).origin("chat.context") == "flag"


@pytest.mark.parametrize(
    ("variable", "value", "name", "expected"),
    [
        ("JANUS_COLLECTION", "papers", "collection", "papers"),
        ("JANUS_PROFILE", "external", "profile", "external"),
        ("JANUS_WORKER__THREADS", "3", "worker.threads", 3),
        ("JANUS_CHAT__GPU", "off", "chat.gpu", "off"),
        ("JANUS_CHAT__GPU", "0", "chat.gpu", 0),
        ("JANUS_EMBEDDINGS__IDLE_S", "60", "embeddings.idle_s", 60),
    ],
)
def test_variables_set_what_they_name(
    desk: Desk, variable: str, value: str, name: str, expected: object
) -> None:
    loaded = desk.load({variable: value, "JANUS_HOME": "/x", "JANUS_TEST_REQUIRE": "y"})

    assert dict(flat(loaded.settings))[name] == expected
    assert loaded.origin(name) == variable


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("colection = 'x'", "colection"),
        ("[chat]\ncontxt = 1", "chat.contxt"),
        ("[chta]\ncontext = 1", "chta"),
        ("chat = 1", "chat"),
        ("stores = 'x'", "stores"),
        ("stores = ['x']", "stores"),
        ("collection = {a = 1}", "collection"),
        ("[chat.context]\na = 1", "chat.context"),
        ("'chat.context' = 9000", "chat.context"),
        ("[chat]\ncontext = 'many'", "chat.context"),
        ("[chat]\ncontext = 1", "chat.context"),
        ("[chat]\ngpu = 'some'", "chat.gpu"),
        ("profile = 'cloud'", "profile"),
        ("[worker]\nprocesses = -1", "worker.processes"),
        ("trusted_projects = 'x'", "trusted_projects"),
        ("trusted_projects = [1]", "trusted_projects"),
        ("[chat", "janus.toml"),
        ("a = " + "[" * 5000, "janus.toml"),
        ("a = '\\udcff'", "janus.toml"),
    ],
)
def test_what_is_wrong_is_named_with_its_file(desk: Desk, text: str, named: str) -> None:
    desk.user_file.write_bytes(text.encode("utf-8", "surrogatepass"))

    message = desk.refused().splitlines()[-1]

    assert str(desk.user_file) in message
    assert named in message


def test_a_scalar_and_a_table_of_one_name_are_no_crash(desk: Desk) -> None:
    desk.user_file.write_text("collection = 'x'")
    desk.project_file.write_text("[collection]\na = 1")

    assert str(desk.project_file) in desk.refused().splitlines()[-1]


def test_an_unknown_variable_of_a_known_group_is_named(desk: Desk) -> None:
    assert "JANUS_CHAT__CONTXT" in desk.refused({"JANUS_CHAT__CONTXT": "1"})
    assert "JANUS_CHAT__CONTEXT" in desk.refused({"JANUS_CHAT__CONTEXT": "x"})
    desk.load({"JANUS_SOMETHING__ELSE": "1", "OTHER": "x"})


@pytest.mark.parametrize(
    "text",
    [
        f"[stores]\nrelational = '{SECRET_URL}'",
        "[stores]\nvectors = 'qdrant+http://evil.example'",
        "stores.objects = 's3+http://evil.example'",
        "stores = {queue = 'redis://evil.example'}",
        "[chat]\nurl = 'http://evil.example/v1'",
        "chat.url = 'http://evil.example/v1'",
        "'chat.url' = 'http://evil.example/v1'",
        "'stores.vectors' = 'qdrant+http://evil.example'",
        "\"stores\".\"cache\" = 'redis://evil.example'",
        "trusted_projects = ['.']\n[chat]\nurl = 'http://evil.example'",
    ],
)
def test_a_projects_file_may_not_send_anything_elsewhere(desk: Desk, text: str) -> None:
    desk.project_file.write_text(text)

    report = desk.refused()

    assert str(desk.project_file) in report
    assert "hush-hush" not in report


def test_a_trusted_project_may_name_services(desk: Desk, tmp_path: Path) -> None:
    desk.project_file.write_text("[chat]\nurl = 'http://ours.example/v1'")
    desk.user_file.write_text(f"trusted_projects = ['~/x', '{desk.project}/../project']")

    url = desk.load().settings.chat.url
    assert url is not None
    assert url.get_secret_value() == "http://ours.example/v1"

    desk.user_file.write_text(f"trusted_projects = ['{tmp_path}']")
    assert "not trusted" in desk.refused(), "trust in a folder is none in those inside it"


def test_a_linked_folder_is_judged_by_where_it_is(desk: Desk, tmp_path: Path) -> None:
    desk.user_file.write_text(f"trusted_projects = ['{desk.project}']")
    evil = tmp_path / "evil"
    evil.mkdir()
    (evil / "janus.toml").write_text("[chat]\nurl = 'http://evil.example'")
    (tmp_path / "link").symlink_to(evil)

    with pytest.raises(BadConfiguration, match="not trusted"):
        load_settings(desk.locations, environ={}, project=tmp_path / "link")


def test_harmless_settings_of_a_project_are_taken(desk: Desk) -> None:
    desk.project_file.write_text("collection = 'papers'\n[stores]\n[chat]\nthreads = 2\nurl = ''")

    assert desk.load().settings.collection == "papers"


def test_a_project_folder_that_waits_for_ever_is_refused(desk: Desk) -> None:
    os.mkfifo(desk.project_file)

    assert "not a file" in desk.refused()


def test_a_working_folder_that_was_deleted_has_no_settings(desk: Desk) -> None:
    program = (
        "import os, sys, tempfile; folder = tempfile.mkdtemp(); os.chdir(folder);"
        "os.rmdir(folder); from janus_core.locations import locate;"
        "from janus_core.settings import load_settings;"
        "print(load_settings(locate(), environ={}).settings.collection)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={"JANUS_HOME": str(desk.project), "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.stdout == "default\n", ran.stderr


def test_secrets_are_not_shown(desk: Desk) -> None:
    desk.user_file.write_text(f"[stores]\nrelational = '{SECRET_URL}'")

    loaded = desk.load()

    assert loaded.settings.stores.relational is not None
    assert loaded.settings.stores.relational.get_secret_value() == SECRET_URL
    settings = loaded.settings
    assert "hush" not in f"{loaded!r} {settings} {settings.model_dump()} {list(flat(settings))}"


def test_a_wrong_secret_is_not_repeated_by_the_error(desk: Desk) -> None:
    desk.user_file.write_text("[stores]\nrelational = ['hush-hush']")

    assert "hush" not in desk.refused()


def test_settings_do_not_change(desk: Desk) -> None:
    with pytest.raises(ValidationError):
        desk.load().settings.chat.context = 1  # type: ignore[misc]


def test_every_setting_says_what_it_is() -> None:
    """What `janus config show` lists is documented under each field."""
    source = (Path(__file__).parents[2] / "janus_core" / "settings.py").read_text()
    for name, _ in flat(Settings()):
        field = name.rsplit(".", 1)[-1]
        after = source.split(f"    {field}: ", 1)[1]
        assert '"""' in after.split("\n", 2)[1] or "(" in after.split("\n", 1)[0], name
