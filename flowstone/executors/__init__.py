"""Where user code runs: outside of actors, under a timeout, its outcome a message."""
