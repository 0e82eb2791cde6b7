"""Cron expressions and intervals as instants, with daylight saving time as Debian's cron treats it.

Text is checked first (`text`), read field by field (`syntax`, the only user of croniter), turned into bit masks
(`fields`), and searched within windows of constant offset (`windows`). All values are immutable and cached, safe to
share between threads, and computed without any clock.
"""

from flowstone.cron.expression import Cron
from flowstone.cron.interval import Interval
from flowstone.cron.timing import Timing

__all__ = ["Cron", "Interval", "Timing"]
