"""The calls about sensors: each is one transaction, then a word to the sensor's actor where one runs.

From any thread. `by` names who acts, for the audit; the user of the operating system by default.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from actors import ActorDeadError, ActorRef, AskTimeout, ChildExists, ChildNotFound, DynamicSupervisorRef
from flowstone.audit.who import who
from flowstone.core.checks import check_status
from flowstone.core.keywords import check_keywords
from flowstone.durations import seconds
from flowstone.errors import ExecutionError, RuntimeStopped, SensorNotFound, TimeoutExceeded, ValidationError, shown
from flowstone.outcome import Outcome
from flowstone.runs.services import Services
from flowstone.sensors import outbox, steering, store
from flowstone.sensors.announcing import deliver_soon
from flowstone.sensors.around import Around
from flowstone.sensors.beside import poll_beside
from flowstone.sensors.book import SensorBook
from flowstone.sensors.cursor import write_state
from flowstone.sensors.definitions import define, withdraw
from flowstone.sensors.messages import Poll
from flowstone.sensors.outbox import Delivery
from flowstone.sensors.polling import call_init
from flowstone.sensors.pushing import push
from flowstone.sensors.rows import DeliveryStatus, EvaluationRow, EvaluationStatus, SensorRow
from flowstone.sensors.sensor import Sensor
from flowstone.sensors.spec import SensorSpec
from flowstone.sensors.supervisor import child_spec, tell_changed
from flowstone.state.assignment import polls_of
from flowstone.state.connection import Connection
from flowstone.state.page import Page

__all__ = ["Sensors"]

T = TypeVar("T")

BESIDE_TRIES = 5
"""Polls beside another node, at most, while each finds that the state has moved on."""


class Sensors:
    """What `runtime.sensors` is."""

    def __init__(self, services: Services, book: SensorBook) -> None:
        self._services = services
        self._book = book

    def list(self) -> tuple[SensorRow, ...]:
        """All sensors by name, paused, broken and orphaned ones included."""
        return self._services.database.read(store.list_sensors)

    def get(self, name: str) -> SensorRow:
        """The sensor of this name.

        Raises:
            SensorNotFound: there is none.
        """
        return self._services.database.read(lambda connection: store.read(connection, name))

    def ref(self, name: str) -> ActorRef:
        """The ref of a sensor's actor, good over its restarts: `ref.ask(Poll(), timeout=10)` does what `poll` does.

        Raises:
            SensorNotFound: there is none of this name here.
            RuntimeStopped: this runtime runs no sensors.
        """
        self.definition(name)
        try:
            ref: ActorRef = self._supervisor().child(name)
        except (ActorDeadError, ChildNotFound) as error:
            owner = self._services.membership.owner(polls_of(name))
            where = "" if owner is None else f": it is polled by process {owner.pid} on {owner.host}"
            raise RuntimeStopped(f"sensor {name!r} has no actor at present{where}", name=name) from error
        return ref

    def poll(self, name: str, *, timeout: object = None, by: str | None = None) -> EvaluationRow:
        """Poll a sensor once, after those who asked before, and wait for the evaluation that this makes.

        On a paused sensor it is `skipped`. `timeout` is a duration in real time. A sensor that another node polls is
        polled here, beside that: should both happen at once, one finds the state moved on, and is stale; this one then
        tries again, a few times.

        Raises:
            SensorNotFound: there is none of this name here.
            TimeoutExceeded: the timeout passed; the poll goes on.
            ExecutionError: the sensor's actor crashed before it answered.
            RuntimeStopped: this runtime runs no sensors.
            ValidationError: `by` is no text.
        """
        asked = Poll(by)
        limit = None if timeout is None else seconds(timeout, "timeout")
        self.definition(name)
        membership = self._services.membership
        if not membership.has(polls_of(name)):
            return self._poll_elsewhere(name, limit, by)
        try:
            evaluation: EvaluationRow = self.ref(name).ask(asked, timeout=limit)
        except AskTimeout as error:
            message = f"the poll of sensor {name!r} did not end within {limit:g} s; it goes on"
            raise TimeoutExceeded(message, name=name) from error
        except ActorDeadError as error:
            if not membership.has(polls_of(name)):
                # Another node has just come, and polls it from now on; what this poll saw is not committed.
                return self._poll_elsewhere(name, limit, by)
            message = f"the actor of sensor {name!r} ended before it answered: {error}"
            raise ExecutionError(message, retryable=True, name=name) from error
        except RuntimeStopped:
            if not membership.shared:
                raise
            # It comes here, or goes, just now.
            return self._poll_elsewhere(name, limit, by)
        return evaluation

    def push(self, name: str, message: Any, *, message_id: str | None = None) -> EvaluationRow:
        """Push a message to a sensor; its evaluation, committed. The payload is the message, which is JSON.

        A message id that was settled before changes nothing and gives the first evaluation; one whose evaluation
        failed, or was skipped since the sensor is paused, is evaluated again.

        Raises:
            SensorNotFound: there is none of this name here.
            ValidationError: the sensor is polled, or the message has no id: neither given nor computed.
            ExecutionError: the function that computes the id raised or hung.
            StoreUnavailable: the store failed; push the message again under the same id.
        """
        return push(self._services, self.definition(name), message, message_id)

    def pause(self, name: str, *, reason: str | None = None, by: str | None = None) -> SensorRow:
        """Let a sensor rest until it is resumed; its row. What a poll in progress sees is not committed.

        Raises:
            SensorNotFound: there is none of this name.
        """
        return self._steer(name, partial(steering.pause, reason=reason), by)

    def resume(self, name: str, *, by: str | None = None) -> SensorRow:
        """Let a sensor go on, its failures forgotten; its row.

        Raises:
            SensorNotFound: there is none of this name.
        """
        return self._steer(name, steering.resume, by)

    def reset(self, name: str, state: Any, *, by: str | None = None) -> SensorRow:
        """Let a sensor go on from a state, or with None from what its `init` gives, all arrivals forgotten; its row.

        Raises:
            SensorNotFound: there is none of this name here.
            ValidationError: the state is no JSON.
            ExecutionError: `init` raised; the sensor is as it was.
            TimeoutExceeded: `init` outlasted the sensor's timeout; the sensor is as it was.
        """
        spec = self.definition(name)
        first = self._first_state(spec) if state is None else state
        cursor = write_state(spec.sensor, first)
        return self._steer(name, partial(steering.reset, cursor=cursor, forget=state is None), by)

    def rewind(self, name: str, *, to: str, by: str | None = None) -> SensorRow:
        """Let a sensor go on from where the evaluation of id `to` left it; its row.

        What later evaluations triggered is triggered again: their run keys are free, their arrivals forgotten.

        Raises:
            SensorNotFound: there is none of this name.
            ValidationError: it has no such evaluation, or that one is a push's, which leaves no cursor.
        """
        return self._steer(name, partial(steering.rewind, to=to), by)

    def history(
        self,
        name: str,
        *,
        status: str | None = None,
        since: datetime | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[EvaluationRow]:
        """The evaluations of a sensor, newest first, a page at a time.

        Raises:
            SensorNotFound: there is none of this name.
            ValidationError: a status that does not exist, a bad limit, or a cursor that no page gave.
        """
        check_status(status, EvaluationStatus)

        def query(connection: Connection) -> Page[EvaluationRow]:
            store.read(connection, name)
            return store.history(connection, name, status=status, since=since, limit=limit, cursor=cursor)

        return self._services.database.read(query)

    def deliveries(
        self, name: str, *, status: str | None = None, limit: int = 100, cursor: str | None = None
    ) -> Page[Delivery]:
        """The calls of a sensor's `on_trigger`, newest first, a page at a time.

        Raises:
            SensorNotFound: there is none of this name.
            ValidationError: a status that does not exist, a bad limit, or a cursor that no page gave.
        """
        check_status(status, DeliveryStatus)

        def query(connection: Connection) -> Page[Delivery]:
            store.read(connection, name)
            return outbox.list_deliveries(connection, name, status=status, limit=limit, cursor=cursor)

        return self._services.database.read(query)

    def retry_delivery(self, id: int, *, by: str | None = None) -> Delivery:
        """Try a delivery that is parked, or waits, again now; its row.

        Raises:
            ValidationError: there is no such delivery, or it is delivered already.
        """
        actor, now = who(by), self._services.clock.now()
        delivery = self._transact(lambda connection: outbox.retry(connection, id, actor=actor, now=now))
        deliver_soon(self._services)
        return delivery

    def add(
        self, sensor: str | SensorSpec, value: Sensor | None = None, /, *, by: str | None = None, **options: Any
    ) -> SensorRow:
        """Add a sensor while the runtime runs, from a `SensorSpec` or from what makes one; its row.

        One that the store knows goes on where it was. A sensor that is added so is orphaned by the next start whose
        code does not have it.

        Raises:
            ValidationError: the name is taken, or an option is wrong.
            AssetNotFound: the target names an unknown asset.
        """
        spec = _spec_of(sensor, value, options)
        if spec.target is not None:
            self._services.catalog.select(spec.target)
        actor, now = who(by), self._services.clock.now()
        self._book.add(spec)
        try:
            row = self._transact(partial(define, spec=spec, actor=actor, now=now))
            self._start(spec)
        except BaseException:
            self._book.remove(spec.name)
            raise
        return row

    def remove(self, name: str, *, by: str | None = None) -> None:
        """Remove a sensor at once, and let it clean up; its history stays, and its cursor for when it is added again.

        Raises:
            SensorNotFound: there is none of this name here.
        """
        actor = who(by)
        try:
            self._book.remove(name)
        except SensorNotFound:
            if not isinstance(name, str):
                raise
            if not self.get(name).orphaned:
                raise
        supervisor: DynamicSupervisorRef | None = self._services.directory.get("sensors")
        if supervisor is not None:
            try:
                supervisor.terminate_child(name)
            except (ActorDeadError, ChildNotFound):
                # It is being restarted, by the book, which does not hold this sensor any more.
                pass
        self._transact(partial(withdraw, name=name, actor=actor, now=self._services.clock.now()))

    def _poll_elsewhere(self, name: str, limit: float | None, by: str | None) -> EvaluationRow:
        """The evaluation of a poll beside the node that polls this sensor."""
        for _again in range(BESIDE_TRIES):
            evaluation = poll_beside(self._services, self.definition(name), limit, by)
            if evaluation.status is not EvaluationStatus.SKIPPED_STALE:
                break
        return evaluation

    def _start(self, spec: SensorSpec) -> None:
        if not self._services.membership.has(polls_of(spec.name)):
            # It is ours as soon as the other nodes know of it.
            self._services.membership.stir()
            return
        supervisor: DynamicSupervisorRef | None = self._services.directory.get("sensors")
        if supervisor is not None:
            try:
                supervisor.start_child(child_spec(self._services, self._book, spec))
            except (ActorDeadError, ChildExists):
                # It is being restarted, or just was, by the book, which holds this sensor already.
                pass

    def definition(self, name: str) -> SensorSpec:
        """A sensor as it was defined here.

        Raises:
            SensorNotFound: there is none of this name here.
        """
        try:
            return self._book.get(name)
        except SensorNotFound:
            if not isinstance(name, str):
                raise
            row = self.get(name)
        lacking = "has left the code" if row.orphaned else "is not in the code of this process"
        raise SensorNotFound(f"sensor {name!r} {lacking}: it goes on where it was when it is defined again", name=name)

    def _supervisor(self) -> DynamicSupervisorRef:
        supervisor: DynamicSupervisorRef | None = self._services.directory.get("sensors")
        if supervisor is None:
            raise RuntimeStopped("this runtime runs no sensors: it was made with sensors=False")
        return supervisor

    def _first_state(self, spec: SensorSpec) -> Any:
        answered = self._services.future()
        self._services.polls.submit(
            call_init,
            spec,
            Around(self._services, spec),
            timeout=spec.timeout,
            name=f"sensor {spec.name} init",
            then=answered.set,
        )
        outcome: Outcome[Any] = answered.get()
        if outcome.error is not None:
            message = f"init of sensor {spec.name!r} raised {type(outcome.error).__name__}: {outcome.error}"
            raise ExecutionError(message, name=spec.name) from outcome.error
        return outcome.unwrap()

    def _steer(self, name: str, step: Callable[..., SensorRow], by: str | None) -> SensorRow:
        row = self._transact(partial(step, name=name, actor=who(by), now=self._services.clock.now()))
        tell_changed(self._services, name)
        return row

    def _transact(self, transaction: Callable[[Connection], T]) -> T:
        return self._services.database.transact(transaction)


def _spec_of(sensor: str | SensorSpec, value: Sensor | None, options: dict[str, Any]) -> SensorSpec:
    if not isinstance(sensor, SensorSpec):
        return SensorSpec(sensor, value, **options)  # type: ignore[arg-type]  # refused there
    check_keywords("add with a SensorSpec", options, ())
    if value is not None:
        raise ValidationError(f"expected add to get a SensorSpec alone, got also: {shown(value)}")
    return sensor
