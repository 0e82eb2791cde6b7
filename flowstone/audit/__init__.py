"""Who did what to what: the rows that are only ever added."""
