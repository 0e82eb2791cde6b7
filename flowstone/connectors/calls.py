"""The calls about connectors: tasks that emit events, handlers of events, the event log and the dead letters.

Each is one transaction, from any thread; handlers may be registered before the runtime starts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from flowstone.audit.store import record
from flowstone.audit.who import who
from flowstone.connectors import events, tasks
from flowstone.connectors.connector import Connector
from flowstone.connectors.definitions import parse
from flowstone.connectors.events import DeadLetter, Event, EventRow
from flowstone.connectors.handlers import Handlers
from flowstone.connectors.router import wake_router
from flowstone.connectors.task_clock import tasks_changed
from flowstone.connectors.tasks import ScheduledTask, checked
from flowstone.core.keywords import check_keywords
from flowstone.core.names import check_name
from flowstone.errors import ValidationError, shown
from flowstone.runs.services import Services
from flowstone.state.connection import Connection
from flowstone.state.page import Page

__all__ = ["Connectors"]

T = TypeVar("T")

OPTIONS = ("cron_expression", "event_type", "payload", "timezone", "enabled")


class Connectors:
    """What `runtime.connectors` is. `by` names who acts, for the audit; the user of the operating system by default."""

    def __init__(self, services: Callable[[], Services], handlers: Handlers) -> None:
        self._services = services
        self._handlers = handlers

    def create_scheduled_task(
        self,
        name: str,
        cron_expression: str,
        *,
        event_type: str,
        payload: Any = None,
        timezone: str = "UTC",
        enabled: bool = True,
        by: str | None = None,
    ) -> ScheduledTask:
        """Let the store emit an event of a type at the instants of a cron expression in a zone; the task.

        The same call again changes nothing.

        Raises:
            CronError: a bad cron expression or zone.
            ValidationError: the name is taken by a task with other options, or an option is wrong.
        """
        given = {
            "cron_expression": cron_expression,
            "event_type": event_type,
            "payload": {} if payload is None else payload,
            "timezone": timezone,
            "enabled": enabled,
        }
        options, actor = checked(name, given), who(by)
        return self._create(options, actor)

    def list_scheduled_tasks(self) -> tuple[ScheduledTask, ...]:
        """All tasks by name, those that were written by plain SQL included."""
        return self._services().database.read(tasks.every)

    def update_scheduled_task(self, name: str, *, by: str | None = None, **changes: Any) -> ScheduledTask:
        """Change options of a task; the task. With a new timing nothing fires for the past.

        Raises:
            CronError: a bad cron expression or zone.
            ValidationError: there is no such task, or an option is unknown or wrong.
        """
        check_keywords("update_scheduled_task", changes, OPTIONS)
        services, actor = self._services(), who(by)

        def change(connection: Connection) -> ScheduledTask:
            now, task = services.clock.now(), tasks.find(connection, name)
            tasks.change(connection, task, checked(name, {**task.options, **changes}), now=now)
            self._audit(connection, "scheduled_task.updated", name, actor, dict.fromkeys(changes))
            return tasks.find(connection, name)

        task = services.database.transact(change)
        tasks_changed(services)
        return task

    def disable_scheduled_task(self, name: str, *, by: str | None = None) -> ScheduledTask:
        """Let a task emit nothing, at once; the task. `update_scheduled_task(name, enabled=True)` lets it go on.

        Raises:
            ValidationError: there is no such task.
        """
        return self.update_scheduled_task(name, by=by, enabled=False)

    def delete_scheduled_task(self, name: str, *, by: str | None = None) -> None:
        """Remove a task; what it emitted stays.

        Raises:
            ValidationError: there is no such task.
        """
        services, actor = self._services(), who(by)

        def delete(connection: Connection) -> None:
            tasks.find(connection, name)
            tasks.delete(connection, name)
            self._audit(connection, "scheduled_task.deleted", name, actor, {})

        services.database.transact(delete)
        tasks_changed(services)

    def on_event(
        self, event_type: str, handler: Callable[..., Any], *, vt: object = "30s", max_deliveries: int = 5
    ) -> None:
        """Let `handler` handle the events of exactly this type; before the runtime starts too.

        It gets `(event)` or `(event, context)`, and `connection=` when it has that parameter: the driver's own, in the
        transaction that ends the event, so that what it writes there is written once. Any other handler is called at
        least once. After it raised, the event comes again, the first time after `vt`, then twice as late each time;
        after `max_deliveries` it goes to the dead letters.

        Raises:
            ValidationError: the type has another handler, or an option is wrong.
        """
        self._handlers.add(event_type, handler, vt=vt, max_deliveries=max_deliveries)

    def add(self, connector: Connector, *, vt: object = "30s", max_deliveries: int = 5) -> None:
        """Let a connector handle its trigger; options as of `on_event`.

        Raises:
            ValidationError: it is no connector, or its trigger has another handler.
        """
        if not isinstance(connector, Connector):
            raise ValidationError(f"expected a Connector, got: {shown(connector)}")
        self._handlers.add(connector.trigger_event_type, connector, vt=vt, max_deliveries=max_deliveries)

    def load(self, definitions: object, *, by: str | None = None) -> tuple[ScheduledTask, ...]:
        """Define connectors and their tasks by JSON, text or parsed, one node or a list; the tasks.

        Loading the same again changes nothing; a task that was defined otherwise is updated.

        Raises:
            ValidationError: with all that is wrong in its `.problems`; nothing is changed then.
        """
        found, services, actor = parse(definitions), self._services(), who(by)
        for each in found:
            self._handlers.check(each.connector.trigger_event_type, each.connector)

        def define(connection: Connection) -> tuple[ScheduledTask, ...]:
            return tuple(self._define(connection, each.task, actor) for each in found)

        made = services.database.transact(define)
        for each in found:
            self.add(each.connector)
        tasks_changed(services)
        return made

    def emit(self, event_type: str, payload: Any = None, *, event_id: str | None = None) -> str:
        """Emit an event; its id, after the commit. Under one `event_id` it is emitted once, however often it is asked.

        Raises:
            ValidationError: the type or the id is no name, or JSON can't hold the payload.
        """
        services, asked = self._services(), events.emission(event_type, payload)
        event_id = f"evt_{services.fresh_id()}" if event_id is None else check_name("event id", event_id)
        services.database.transact(
            lambda connection: events.emit(connection, event_id, asked, now=services.clock.now())
        )
        wake_router(services)
        return event_id

    def events(
        self,
        *,
        task: str | None = None,
        event_type: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[EventRow]:
        """What was emitted, by what, with what result, newest first.

        Raises:
            ValidationError: a cursor that no page gave, or a limit below 1.
        """
        return self._services().database.read(
            lambda connection: events.log_of(
                connection, task=task, event_type=event_type, limit=limit, cursor=cursor
            )
        )

    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """The events that nobody could handle, oldest first, with their errors."""
        return self._services().database.read(events.dead_letters)

    def requeue(self, event_id: str, *, by: str | None = None) -> Event:
        """Put a dead letter back into the queue, as if it had never been delivered; the event.

        Raises:
            ValidationError: there is no dead letter of this id.
        """
        services, actor = self._services(), who(by)

        def requeue(connection: Connection) -> Event:
            event = events.requeue(connection, event_id, now=services.clock.now())
            self._audit(connection, "event.requeued", event_id, actor, {"event_type": event.event_type})
            return event

        event = services.database.transact(requeue)
        wake_router(services)
        return event

    def _create(self, options: dict[str, Any], actor: str) -> ScheduledTask:
        services, name = self._services(), options["name"]

        def create(connection: Connection) -> ScheduledTask:
            task = self._inserted(connection, options, actor)
            if checked(name, task.options) != options:
                message = f"scheduled task {name!r} exists with other options: update it, or give it another name"
                raise ValidationError(message, name=name)
            return task

        task = services.database.transact(create)
        tasks_changed(services)
        return task

    def _define(self, connection: Connection, options: dict[str, Any], actor: str) -> ScheduledTask:
        name, task = options["name"], self._inserted(connection, options, actor)
        if checked(name, task.options) == options:
            return task
        tasks.change(connection, task, options, now=self._services().clock.now())
        self._audit(connection, "scheduled_task.updated", name, actor, {"event_type": options["event_type"]})
        return tasks.find(connection, name)

    def _inserted(self, connection: Connection, options: dict[str, Any], actor: str) -> ScheduledTask:
        """The task of this name, which is new unless there was one."""
        name = options["name"]
        if tasks.insert(connection, options, now=self._services().clock.now()):
            self._audit(connection, "scheduled_task.created", name, actor, {"event_type": options["event_type"]})
        return tasks.find(connection, name)

    def _audit(
        self, connection: Connection, event: str, name: str, actor: str, details: dict[str, object]
    ) -> None:
        resource = f"{event.partition('.')[0]}:{name}"
        at = self._services().clock.now()
        record(connection, event, actor=actor, resource=resource, details=details, at=at)
