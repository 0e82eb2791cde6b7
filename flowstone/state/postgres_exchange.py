"""What is said to a PostgreSQL server, and what it answers, through libpq itself.

Statements are prepared once, and called without the driver's cursors, which cost three times as much: 75 µs against 25
for the smallest one. One whose answer has no rows is not sent at once: it travels with the next one that has,
or with the commit, and whatever is wrong with it shows there. A whole transaction so takes as many round trips as it
has questions, and waits as rarely for the interpreter's lock, which others take whenever a statement is under way.
"""

from collections.abc import Callable
from functools import partial
from select import POLLIN
from typing import Any

import psycopg
from psycopg import pq
from psycopg.errors import error_from_result

from actors.raw import poll
from flowstone.state.dialect import Parameters
from flowstone.state.postgres_wire import Reader, statement_of, value_of

__all__ = ["Exchange"]

PREPARED = 1000
"""Statements that are kept prepared, at most."""

WAITING = 100
"""Statements that wait to be sent, at most: their answers have to fit into the buffers of a socket."""

Result = pq.abc.PGresult


class Exchange:
    """One connection; used by one thread at a time. What fails raises a `psycopg.Error`.

    A transaction that only reads has no commit at which a statement's error could show: there `at_once` puts none off.
    """

    def __init__(self, conninfo: bytes, *, at_once: bool) -> None:
        self._at_once = at_once
        self._raw = pq.PGconn.connect(conninfo)
        self._waiting = 0
        self._driver: psycopg.Connection[Any] | None = None
        self._prepared: dict[tuple[str, tuple[int, ...]], tuple[bytes, Reader | None]] = {}
        if self.lost:
            raise psycopg.OperationalError(self._raw.get_error_message())
        self._readable = poll()
        self._readable.register(self._raw.socket, POLLIN)

    @property
    def lost(self) -> bool:
        """Whether the connection is gone."""
        return self._raw.status != pq.ConnStatus.OK

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open that, as far as is known, takes statements."""
        return self._waiting > 0 or self._raw.transaction_status == pq.TransactionStatus.INTRANS

    @property
    def failed(self) -> bool:
        """Whether a transaction is open that takes no statements any more."""
        return self._raw.transaction_status == pq.TransactionStatus.INERROR

    @property
    def socket(self) -> int:
        """The descriptor of the connection."""
        return self._raw.socket

    def driver(self) -> psycopg.Connection[Any]:
        """The connection as users know it, once all that was put off is done."""
        self.settle()
        if self._driver is None:
            self._driver = psycopg.Connection(self._raw)
        return self._driver

    def command(self, sql: str) -> None:
        """Run statements that have no parameters and whose answers don't matter."""
        self.settle()
        self._checked(self._raw.exec_, sql.encode())

    def found(self, first: str, *statements: str, parameters: Parameters) -> bool:
        """Run statements in one round trip, of which the first has no parameters; whether the last one gives rows."""
        for sql in statements:
            self._statement(sql, parameters)
        ready = [self._statement(sql, parameters) for sql in statements]
        self.later(first)
        for name, texts, _reader in ready:
            self._wait(partial(self._raw.send_query_prepared, name, texts))
        return self._answered().ntuples > 0

    def later(self, sql: str) -> None:
        """Run a statement before the next one that is waited for."""
        self._wait(lambda: self._raw.send_query_params(sql.encode(), None))

    def rows(self, sql: str, parameters: Parameters) -> list[Any]:
        """The rows that a statement gives; one that gives none is put off."""
        result, reader = self._call(sql, parameters)
        return [] if result is None or reader is None else reader.rows(result.ntuples, result.get_value)

    def count(self, sql: str, parameters: Parameters) -> int:
        """How many rows a statement changed."""
        result, _reader = self._call(sql, parameters, answer=True)
        return 0 if result is None else result.command_tuples or 0

    def settle(self) -> None:
        """Wait for the answers of all that was put off."""
        if self._waiting:
            self._answered()

    def notified(self) -> int:
        """How many notifications of other sessions came with the answers since this was last asked."""
        count, own = 0, self._raw.backend_pid
        while (notification := self._raw.notifies()) is not None:
            count += notification.be_pid != own
        return count

    def close(self) -> None:
        """Close the connection."""
        self._raw.finish()

    def _call(self, sql: str, parameters: Parameters, *, answer: bool = False) -> tuple[Result | None, Reader | None]:
        """The answer of a statement, when it has rows or is wanted, and who reads them."""
        name, texts, reader = self._statement(sql, parameters)
        if reader is None and not answer and not self._at_once:
            self._wait(lambda: self._raw.send_query_prepared(name, texts))
            return None, None
        if not self._waiting:
            return self._checked(self._raw.exec_prepared, name, texts), reader
        self._raw.send_query_prepared(name, texts)
        self._waiting += 1
        return self._answered(), reader

    def _statement(self, sql: str, parameters: Parameters) -> tuple[bytes, list[bytes | None], Reader | None]:
        """The name of a prepared statement, its parameters, and who reads its rows, when it gives any."""
        text, names = statement_of(sql)
        values = [value_of(parameters[name]) for name in names]
        types = tuple([number for number, _text in values])
        name, reader = self._prepared.get((sql, types)) or self._prepare(sql, text, types)
        return name, [text for _number, text in values], reader

    def _prepare(self, sql: str, text: bytes, types: tuple[int, ...]) -> tuple[bytes, Reader | None]:
        self.settle()
        if len(self._prepared) >= PREPARED:
            self.command("deallocate all")
            self._prepared.clear()
        name = b"s%d" % len(self._prepared)
        self._checked(self._raw.prepare, name, text, types)
        shape = self._checked(self._raw.describe_prepared, name)
        columns = range(shape.nfields)
        names = tuple((shape.fname(column) or b"").decode() for column in columns)
        reader = Reader(names, tuple(shape.ftype(column) for column in columns)) if columns else None
        self._prepared[sql, types] = (name, reader)
        return name, reader

    def _wait(self, send: Callable[[], None]) -> None:
        if self.lost:
            raise psycopg.OperationalError("the connection is closed")
        if not self._waiting:
            self._raw.enter_pipeline_mode()
        send()
        self._waiting += 1
        if self._waiting >= WAITING:
            self._answered()

    def _answered(self) -> Result:
        """The last of the answers of all that was put off; the first error among them is raised."""
        waiting, self._waiting = self._waiting, 0
        self._raw.pipeline_sync()
        answers = [self._next() for _statement in range(waiting)]
        self._result()  # the end of the pipeline
        self._raw.exit_pipeline_mode()
        wrong = next((answer for answer in answers if answer.status == pq.ExecStatus.FATAL_ERROR), None)
        if wrong is not None:
            raise error_from_result(wrong)
        return answers[-1]

    def _next(self) -> Result:
        answer = self._result()
        if answer is None or self.lost:
            raise psycopg.OperationalError(self._raw.get_error_message())
        self._result()  # None: the end of this answer
        return answer

    def _result(self) -> Result | None:
        """What libpq gives next. While it waited, it would keep the interpreter from all other threads.

        One of those may hold the very lock in the database that is waited for.
        """
        while self._raw.is_busy():
            self._readable.poll()
            self._raw.consume_input()
        return self._raw.get_result()

    def _checked(self, call: Callable[..., Result], *arguments: object) -> Result:
        if self.lost:
            raise psycopg.OperationalError("the connection is closed")
        try:
            result = call(*arguments)
        except MemoryError as error:  # what the driver makes of no answer at all
            raise psycopg.OperationalError("the connection gave no answer") from error
        if result.status == pq.ExecStatus.FATAL_ERROR:
            raise error_from_result(result)
        return result
