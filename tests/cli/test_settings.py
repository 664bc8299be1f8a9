"""janus config: what is set, where it comes from, and changing it safely."""

from __future__ import annotations

import pytest


def by_name(home, **environ: str) -> dict[str, dict[str, object]]:
    return {row["name"]: row for row in home.json("config", "show", **environ)["settings"]}


def test_every_value_names_its_origin(home) -> None:
    home("config", "set", "worker.threads", "3")
    (home.path / "janus.toml").write_text("[ingest]\nmax_file_mb = 5\n")

    found = by_name(home, JANUS_CHAT__CONTEXT="8192")

    assert found["worker.threads"] == {
        "name": "worker.threads",
        "value": 3,
        "origin": str(home.path / "config" / "janus.toml"),
    }
    assert found["ingest.max_file_mb"]["origin"] == str(home.path / "janus.toml")
    assert (found["chat.context"]["value"], found["chat.context"]["origin"]) == (
        8192,
        "JANUS_CHAT__CONTEXT",
    )
    assert found["collection"] == {"name": "collection", "value": "default", "origin": "default"}


def test_passwords_are_not_shown(home) -> None:
    url = "postgresql+psycopg://ada:hunter2@db.example:5432/janus?sslpassword=hunter3&host=x"

    ran = home("config", "set", "stores.relational", "-", input=url)
    shown = home("config", "show", "stores")

    assert ran.returncode == shown.returncode == 0, ran.stderr
    for text in (ran.stdout, ran.stderr, shown.stdout):
        assert "hunter" not in text and "ada" not in text
    assert "db.example:5432/janus" in shown.stdout
    file = home.path / "config" / "janus.toml"
    assert "hunter2" in file.read_text()
    assert file.stat().st_mode & 0o077 == 0


def test_setting_a_value_leaves_the_rest_of_the_file_alone(home) -> None:
    file = home.path / "config" / "janus.toml"
    file.parent.mkdir(mode=0o700)
    file.write_text(
        '# mine\ncollection = "field"  # the usual\n\n[chat]\n# small\ncontext = 4096\n\n[worker]\n'
    )

    home.json("config", "set", "chat.context", "2048")
    home.json("config", "set", "chat.gpu", "off")
    home.json("config", "set", "worker.threads", "1")
    home.json("config", "set", "collection", "lab")
    home.json("config", "set", "ingest.max_file_mb", "9")

    assert file.read_text() == (
        '# mine\ncollection = "lab"  # the usual\n\n[chat]\n# small\ncontext = 2048\ngpu = "off"\n'
        "\n[worker]\nthreads = 1\n\n[ingest]\nmax_file_mb = 9\n"
    )
    home.json("config", "set", "chat.gpu", "--unset")
    assert "gpu" not in file.read_text()


@pytest.mark.parametrize(
    "value", ['quote " and \\ backslash', "Ünï–🐟", "tab\there", "#no comment", "= [x]", "\x7f"]
)
def test_any_text_survives(home, value: str) -> None:
    home.json("config", "set", "chat.model", value)

    assert by_name(home)["chat.model"]["value"] == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("chat.context", "99"),
        ("chat.context", "many"),
        ("chat.engine", "vllm"),
        ("chat.contxt", "4096"),
        ("profile", "cloud"),
        ("chat", "x"),
    ],
)
def test_a_wrong_value_changes_nothing(home, name: str, value: str) -> None:
    home.json("config", "set", "chat.context", "1024")
    before = (home.path / "config" / "janus.toml").read_bytes()

    error = home.json("config", "set", name, value, code=2)

    assert error["code"] == "invalid_input" and error["hint"]
    assert (home.path / "config" / "janus.toml").read_bytes() == before


def test_a_file_that_a_line_cannot_change_is_left_alone(home) -> None:
    file = home.path / "config" / "janus.toml"
    file.parent.mkdir(mode=0o700)
    file.write_text("chat = { context = 1024 }\n")

    error = home.json("config", "set", "chat.gpu", "off", code=78)

    assert "by hand" in error["hint"]
    assert file.read_text() == "chat = { context = 1024 }\n"


def test_validate_names_the_source_of_a_wrong_value(home) -> None:
    assert home.json("config", "validate")["valid"] is True

    by_variable = home("config", "validate", JANUS_CHAT__CONTEXT="tiny")
    (home.path / "janus.toml").write_text("nonsense = 1\n")
    by_file = home("config", "validate")

    assert by_variable.returncode == by_file.returncode == 78
    assert "JANUS_CHAT__CONTEXT" in by_variable.stderr
    assert str(home.path / "janus.toml") in by_file.stderr and "nonsense" in by_file.stderr


def test_paths_are_known_even_when_the_settings_are_broken(home) -> None:
    (home.path / "janus.toml").write_text("= broken\n")

    assert home.json("config", "path")["data"] == str(home.path / "data")
    assert home("config", "path", "--settings").stdout == f"{home.path}/config/janus.toml\n"


def test_a_project_cannot_send_documents_away(home) -> None:
    (home.path / "janus.toml").write_text('[stores]\nobjects = "s3+https://example.org/x"\n')

    ran = home("config", "validate")

    assert ran.returncode == 78
    assert "trusted" in ran.stderr
