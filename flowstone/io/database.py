"""Values in a table of a database: SQLite, PostgreSQL, or whatever else peewee has a URL for.

Each call opens a connection of its own and closes it: what was stored is committed, threads that end leave nothing
behind, and a server that was restarted is no matter.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import peewee
import playhouse.db_url
from playhouse.pool import MaxConnectionsExceeded

from actors.raw import Lock
from flowstone.core.names import check_name
from flowstone.errors import IOManagerError, ValidationError, ValueNotFound, shown
from flowstone.io.base import IOContext, StoredValue, content_version
from flowstone.io.formats import FORMATS, choice
from flowstone.io.places import PLACEMENTS, STABLE_NAME

__all__ = ["DatabaseIO"]

BUSY = 30.0
"""Seconds for which a file of SQLite may be held by another writer, and all connections of a pool by other calls."""


class DatabaseIO:
    """Stores values as rows of `table`, which is made when it is first needed.

    `url` is any of peewee's: `sqlite:///values.db`, `postgresql://user@host/database`. `format` is "pickle" (any
    picklable value; load only tables that you trust) in column `content`, or "json" in column `document`, which SQL
    can read. A relative file is that of the time of definition. `placement` is "attempt", a row for each attempt, or
    "stable", one row for each partition. With `postgresql+pool://` connections stay open between calls, 20 at most
    (`?max_connections=`), and calls wait for one.

    Raises:
        ValidationError: an option is none of these, the URL is not one of peewee's, or names a database that lives no
            longer than its connection.

    >>> import tempfile
    >>> rows = DatabaseIO(f"sqlite:///{tempfile.mkdtemp()}/values.db", format="json")
    >>> stored = rows.store(IOContext(asset="raw", run_id="run_a"), {"rows": 3})
    >>> stored.location, rows.load(IOContext(asset="raw"), stored)
    ('raw/~none/run_a.1.0', {'rows': 3})
    """

    def __init__(
        self,
        url: str,
        *,
        format: Literal["pickle", "json"] = "pickle",
        placement: Literal["attempt", "stable"] = "attempt",
        table: str = "flowstone_value",
    ) -> None:
        self._database = _database(url)
        self.format = choice("format", format, FORMATS)
        self.placement = choice("placement", placement, PLACEMENTS)
        self.table = check_name("table", table)
        self._rows = _model(self._database, self.table)
        self._lock = Lock()
        self._made = False

    def __repr__(self) -> str:
        kind = type(self._database).__name__.removesuffix("Database")
        return f"<DatabaseIO on {kind}, table {self.table!r}, format={self.format!r}, placement={self.placement!r}>"

    def store(self, context: IOContext, value: Any) -> StoredValue:
        """Where the value is, once it is committed; the same attempt again replaces its value.

        Raises:
            IOManagerError: it is not of the format or too large for the database (neither is retryable), or the
                database refused it.
        """
        location = PLACEMENTS[self.placement](context)
        content = FORMATS[self.format].content(context.asset, value)
        version, rows = content_version(content), self._rows
        row = {
            rows.location: location,
            rows.asset: context.asset,
            rows.partition: context.encoded_partition,
            rows.run_id: context.run_id,
            rows.attempt: context.attempt,
            rows.data_version: version,
            rows.content: content if self.format == "pickle" else None,
            rows.document: content.decode() if self.format == "json" else None,
        }
        with self._connected(f"store {context.asset} at {location}"), self._database.atomic():
            rows.delete().where(rows.location == location).execute()
            rows.insert(row).execute()
        return StoredValue("database", location, version, len(content))

    def load(self, context: IOContext, stored: StoredValue) -> Any:
        """The value that was stored there.

        Raises:
            ValueNotFound: there is no such row.
            IOManagerError: it can't be read, or its content is no value.
        """
        rows, place = self._rows, stored.location
        with self._connected(f"load {context.asset} from {place}"):
            found = rows.select(rows.content, rows.document).where(rows.location == place).tuples().first()
        if found is None:
            message = f"no value of {context.asset} at {place} in table {self.table}; materialize it again"
            raise ValueNotFound(message, asset=context.asset)
        content, document = found
        if document is not None:
            return FORMATS["json"].value(place, document.encode())
        return FORMATS["pickle"].value(place, bytes(content))

    def exists(self, context: IOContext, stored: StoredValue) -> bool:
        """Whether a value is stored there.

        Raises:
            IOManagerError: the database can't be asked.
        """
        rows = self._rows
        with self._connected(f"look for {context.asset} at {stored.location}"):
            return bool(rows.select().where(rows.location == stored.location).exists())

    def delete(self, stored: StoredValue) -> None:
        """This value is not stored there afterwards; one that took its stable place since then stays.

        Raises:
            IOManagerError: the database refused it.
        """
        rows, place = self._rows, stored.location
        unwanted = rows.location == place
        if place.rpartition("/")[2] == STABLE_NAME:
            unwanted &= rows.data_version == stored.data_version
        with self._connected(f"delete {place}"):
            rows.delete().where(unwanted).execute()

    @contextmanager
    def _connected(self, what: str) -> Iterator[None]:
        try:
            with self._database.connection_context():
                self._make_once()
                yield
        except peewee.ImproperlyConfigured as error:
            raise IOManagerError(f"could not {what}: {error}", retryable=False) from error
        except (peewee.PeeweeException, OSError, MaxConnectionsExceeded) as error:
            first = _first(error)
            message = f"could not {what}: {type(first).__name__}: {first}"
            raise IOManagerError(message, retryable=not isinstance(first, peewee.DataError)) from error

    def _make_once(self) -> None:
        with self._lock:
            if not self._made:
                try:
                    self._database.create_tables([self._rows], safe=True)
                except peewee.PeeweeException:
                    # Two processes may make it at once: "if not exists" is no protection on PostgreSQL.
                    if not self._database.table_exists(self.table):
                        raise
                self._made = True


def _first(error: BaseException) -> BaseException:
    """What an error of the database began with: SQLite, whose disk is full, has nothing left to be rolled back."""
    found, before = error, error.__context__
    while before is not None:
        found = before if isinstance(before, peewee.PeeweeException) else found
        before = before.__context__
    return found


def _database(url: object) -> Any:
    if not isinstance(url, str) or "://" not in url:
        raise ValidationError(f"expected url to be one of peewee's, like sqlite:///values.db, got: {shown(url)}")
    scheme = url.partition("://")[0]
    try:
        more = {"timeout": BUSY} if scheme == "sqlite" or scheme.endswith("+pool") else {}
        connect: Any = playhouse.db_url.connect
        database = connect(url, unquote_user=True, unquote_password=True, **more)
    except (RuntimeError, ValueError, peewee.PeeweeException) as error:
        # The URL may hold a password: only its scheme is shown.
        raise ValidationError(f"expected url to be one of peewee's, got one of {scheme!r}: {error}") from error
    if database.database == ":memory:":
        hint = "a file takes three slashes, as sqlite:///values.db, and values in memory are what MemoryIO is for"
        raise ValidationError(f"expected a database that outlives a connection, got: {shown(url)}; {hint}")
    if isinstance(database, peewee.SqliteDatabase) and not database.database.startswith("file:"):
        database.database = os.path.abspath(database.database)
    return database


class _LongBlob(peewee.BlobField):
    field_type = "LONGBLOB"


class _LongText(peewee.TextField):
    field_type = "LONGTEXT"


def _model(database: Any, table: str) -> Any:
    class Meta:
        table_name = table

    # What MySQL calls a blob or a text ends at 65,535 bytes.
    short = isinstance(database, peewee.MySQLDatabase)

    fields: dict[str, Any] = {
        "location": peewee.CharField(max_length=512, primary_key=True),
        "asset": peewee.TextField(),
        "partition": peewee.TextField(),
        "run_id": peewee.TextField(),
        "attempt": peewee.IntegerField(),
        "data_version": peewee.CharField(max_length=64),
        "content": (_LongBlob if short else peewee.BlobField)(null=True),
        "document": (_LongText if short else peewee.TextField)(null=True),
        "Meta": Meta,
    }
    Meta.database = database  # type: ignore[attr-defined]  # peewee reads its options from this class
    return type("StoredRow", (peewee.Model,), fields)
