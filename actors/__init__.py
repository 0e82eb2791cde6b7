"""Supervised actors for one process: pykka's classes, OTP's rules, greenlets or threads.

Start a `System`, start actors in it, let a `Supervisor` restart those that crash. Importing this starts no thread
and loads no gevent.
"""

from actors.actor import Actor
from actors.backends.futures import Future
from actors.backends.work import Token as WorkToken
from actors.backends.work import WorkCount
from actors.children import ChildCounts, ChildRow
from actors.clock import Clock, RealClock
from actors.dynamic import DynamicSupervisor, DynamicSupervisorRef
from actors.errors import (
    ActorDeadError,
    ActorError,
    AskCycleError,
    AskTimeout,
    ChildError,
    ChildExists,
    ChildNotFound,
    ChildRunning,
    ChildStartError,
    ForkedSystem,
    GaveUp,
    MailboxFull,
    NameTaken,
    SpecError,
    SystemStopped,
    TooManyChildren,
    WouldBlock,
)
from actors.messages import Down, Exit, Shutdown
from actors.ref import ActorRef
from actors.spec import AutoShutdown, Backoff, ChildSpec, Mailbox, Overflow, Quarantine, Restart, Strategy
from actors.supervisor import Supervisor, SupervisorRef
from actors.system import System
from actors.timers import Timer
from actors.tree import Row

__all__ = [
    "Actor",
    "ActorDeadError",
    "ActorError",
    "ActorRef",
    "AskCycleError",
    "AskTimeout",
    "AutoShutdown",
    "Backoff",
    "ChildCounts",
    "ChildError",
    "ChildExists",
    "ChildNotFound",
    "ChildRow",
    "ChildRunning",
    "ChildSpec",
    "ChildStartError",
    "Clock",
    "Down",
    "DynamicSupervisor",
    "DynamicSupervisorRef",
    "Exit",
    "ForkedSystem",
    "Future",
    "GaveUp",
    "Mailbox",
    "MailboxFull",
    "NameTaken",
    "Overflow",
    "Quarantine",
    "RealClock",
    "Restart",
    "Row",
    "Shutdown",
    "SpecError",
    "Strategy",
    "Supervisor",
    "SupervisorRef",
    "System",
    "SystemStopped",
    "Timer",
    "TooManyChildren",
    "WorkCount",
    "WorkToken",
    "WouldBlock",
]
