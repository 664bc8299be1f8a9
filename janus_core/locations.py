"""Where Janus keeps its files on this machine.

`JANUS_HOME` moves everything under one folder. Without it, root uses the
system's places for services and everybody else the places of their desktop.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from janus_core.errors import BadConfiguration

_HANDED_DOWN = "JANUS_LOCATIONS"


@dataclass(frozen=True, slots=True)
class Locations:
    """The folders of one installation. None of them need exist yet."""

    config: Path
    """Settings and secrets."""
    data: Path
    """The stores: what a backup must save."""
    state: Path
    """Logs and what the node remembers about itself."""
    models: Path
    """Chat and embedding models; large, replaceable."""
    runtime: Path
    """Sockets and pid files; short, because socket paths end at 107 bytes."""

    def to_environment(self) -> dict[str, str]:
        """Return the variable that gives a child process these very folders.

        The services run as another user than root's commands, who would
        otherwise look in other places.
        """
        folders = (self.config, self.data, self.state, self.models, self.runtime)
        return {_HANDED_DOWN: json.dumps([str(folder) for folder in folders])}

    @property
    def logs(self) -> Path:
        """The folder of log files, one for each service."""
        return self.state / "logs"

    @property
    def settings_file(self) -> Path:
        """The user's settings."""
        return self.config / "janus.toml"

    @property
    def secrets_file(self) -> Path:
        """The generated passwords and keys, mode 0600."""
        return self.config / "secrets.json"


def locate(environ: Mapping[str, str] = os.environ) -> Locations:
    """Given an environment, return where this installation's files belong.

    Raise BadConfiguration when `JANUS_HOME` is not an absolute path.
    """
    if handed_down := environ.get(_HANDED_DOWN, ""):
        return Locations(*(Path(folder) for folder in json.loads(handed_down)))
    home = environ.get("JANUS_HOME", "")
    if home:
        root = Path(os.path.expanduser(home))  # noqa: PTH111 (it never raises)
        if not root.is_absolute():
            raise BadConfiguration(
                f"JANUS_HOME is not an absolute path: {home}", "Give it from the root: /srv/janus."
            )
        return Locations(
            config=root / "config",
            data=root / "data",
            state=root / "state",
            models=root / "models",
            runtime=_runtime_base(environ) / _short_name(root),
        )
    if os.geteuid() == 0:
        return Locations(
            config=Path("/etc/janus"),
            data=Path("/var/lib/janus"),
            state=Path("/var/log/janus"),
            models=Path("/var/lib/janus-models"),
            runtime=_runtime_base(environ) / "node",
        )
    from platformdirs import PlatformDirs

    dirs = PlatformDirs("janus", appauthor=False)
    return Locations(
        config=dirs.user_config_path,
        data=dirs.user_data_path / "stores",
        state=dirs.user_state_path,
        models=dirs.user_data_path / "models",
        runtime=_runtime_base(environ) / "node",
    )


def packaged(name: str) -> Path:
    """Given `migrations`, `stack` or `examples`, return that folder of data.

    Installed packages carry it inside `janus_core`, a checkout at its top.
    """
    package = Path(__file__).parent
    for folder in (package / "packaged" / name, package.parent / name):
        if folder.is_dir():
            return folder
    raise BadConfiguration(
        f"this installation lacks its folder {name}", "Install Janus again with ./install.sh."
    )


def _runtime_base(environ: Mapping[str, str]) -> Path:
    """The short parent folder of sockets; one for each user, never shared."""
    if os.geteuid() == 0:
        return Path("/run/janus")
    given = environ.get("XDG_RUNTIME_DIR", "")
    if given.startswith("/") and len(given) < 40 and os.access(given, os.W_OK | os.X_OK):
        return Path(given) / "janus"
    return Path(f"/tmp/janus-{os.geteuid()}")  # noqa: S108 (0700 and checked for its owner)


def _short_name(home: Path) -> str:
    return hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:10]
