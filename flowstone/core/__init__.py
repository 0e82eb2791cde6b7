"""Pure values and rules, which know no clock, thread, log or database."""
