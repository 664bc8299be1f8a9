"""The relational database: connections, transactions, schema, error translation.

One engine for each database and process, shared by every adapter that lives in
PostgreSQL. Everything above speaks SQL through `Database.transaction()`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from janus_core.errors import (
    Damaged,
    InvalidInput,
    JanusError,
    NoSpace,
    NotInitialised,
    StoreUnavailable,
    TooNew,
    TransientFailure,
    WrongPassword,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

HEAD = "0002"
"""The newest revision in `migrations/`; a test compares the two."""

_MIGRATION_LOCK = 0x4A616E75  # "Janu": one migration at a time, whoever starts it
_NO_SPACE = {"53100"}
_NO_ACCESS = {"28P01", "28000"}
_TRY_AGAIN = {"40001", "40P01", "55P03", "57014"}
_DAMAGED = {"XX001", "XX002"}

_LIMITS = "-c lock_timeout=60s -c idle_in_transaction_session_timeout=900s"
"""Nobody waits for ever for a lock, nor holds one for ever by being stopped."""


class Database:
    """A PostgreSQL database.

    `pool_size` bounds the connections of this process; `name` is shown in
    pg_stat_activity. Nothing connects before the first transaction.
    """

    def __init__(self, url: str, *, pool_size: int = 2, name: str = "janus") -> None:
        self._url = url
        self._pool_size = pool_size
        self._name = name
        self._lock = threading.Lock()

    @cached_property
    def engine(self) -> Engine:
        """The SQLAlchemy engine, made at first use."""
        from sqlalchemy import create_engine

        return create_engine(
            self._url,
            pool_size=self._pool_size,
            max_overflow=0,
            pool_timeout=60,
            pool_pre_ping=True,
            connect_args={
                "application_name": self._name,
                "connect_timeout": 10,
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "options": _LIMITS,
            },
        )

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Give a connection inside a transaction that commits at the end of the block.

        Raise StoreUnavailable, NoSpace, WrongPassword or TransientFailure in
        place of the driver's errors; the transaction is rolled back.
        """
        with translate(), self.engine.begin() as connection:
            yield connection

    def revision(self) -> str | None:
        """Return the schema's revision, None for an empty database."""
        with self.transaction() as connection:
            return _revision(connection)

    def check_schema(self) -> None:
        """Raise NotInitialised for an empty or older schema, TooNew for a newer one."""
        found = self.revision()
        if found is None:
            raise NotInitialised("the database is empty", "Run: janus up")
        _refuse_newer(found)
        if found < HEAD:
            raise NotInitialised(
                f"the database has the older schema {found}", "Run: janus up (it upgrades it)"
            )

    def migrate(self, scripts: Path) -> bool:
        """Given the folder of migrations, bring the schema to HEAD. Return whether it changed.

        Safe to call from several processes at once. Raise TooNew.
        """
        found = self.revision()
        if found == HEAD:
            return False
        _refuse_newer(found)
        from alembic import command
        from alembic.config import Config
        from sqlalchemy import text

        config = Config()
        config.set_main_option("script_location", str(scripts).replace("%", "%%"))
        with translate(), self.engine.connect() as connection:
            # The first of several at once may take its time.
            connection.execute(text("SET lock_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _MIGRATION_LOCK})
            connection.commit()
            try:
                if (found := _revision(connection)) == HEAD:
                    return False
                _refuse_newer(found)
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                connection.commit()
            finally:
                connection.rollback()
                connection.execute(
                    text("SELECT pg_advisory_unlock(:key)"), {"key": _MIGRATION_LOCK}
                )
                connection.execute(text("RESET lock_timeout"))
                connection.commit()
        return True

    def close(self) -> None:
        """Close every pooled connection. The database can be used again afterwards."""
        with self._lock:
            if "engine" in self.__dict__:
                self.engine.dispose()
                del self.__dict__["engine"]


def _revision(connection: Connection) -> str | None:
    from sqlalchemy import text

    # Not to_regclass(), which answers from a cache: another process may have just migrated.
    there = text("SELECT 1 FROM pg_tables WHERE tablename = 'alembic_version'")
    if connection.scalar(there) is None:
        return None
    found = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return None if found is None else str(found)


def _refuse_newer(found: str | None) -> None:
    if found is not None and found > HEAD:
        raise TooNew(
            f"the database has schema {found}, this Janus knows {HEAD}",
            "Install the Janus that wrote it, or a newer one.",
        )


@contextmanager
def translate() -> Iterator[None]:
    """Turn the driver's errors into Janus's, keeping the original as cause."""
    from sqlalchemy import exc

    try:
        yield
    except JanusError:
        raise
    except exc.TimeoutError as error:
        raise StoreUnavailable(
            "all connections to PostgreSQL are busy", "Try again; lower worker.threads."
        ) from error
    except UnicodeEncodeError as error:
        raise _not_text() from error
    except exc.DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None) or ""
        line = (str(error.orig).strip().splitlines() or ["no message"])[0]
        if state in _NO_SPACE:
            raise NoSpace(
                "PostgreSQL's disk is full", "Free some space; work resumes by itself."
            ) from error
        if state in _NO_ACCESS or "password authentication failed" in line:
            raise WrongPassword(
                "PostgreSQL refused the password", "See: janus config show relational"
            ) from error
        if state in _DAMAGED:
            raise Damaged(
                f"PostgreSQL's files are damaged: {line}", "Restore the last backup: janus restore"
            ) from error
        if state in _TRY_AGAIN:
            raise TransientFailure(f"PostgreSQL asked to try again: {line}") from error
        if isinstance(error, exc.DataError) and "NUL" in line:
            raise _not_text() from error
        if isinstance(error, exc.OperationalError | exc.InterfaceError):
            raise StoreUnavailable(
                f"PostgreSQL does not answer: {line}", "Run: janus up (janus status shows more)"
            ) from error
        raise


def _not_text() -> InvalidInput:
    return InvalidInput(
        "some of the text is not valid Unicode, or has NUL in it", "Give it without such bytes."
    )
