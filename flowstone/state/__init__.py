"""The durable store: one writer, many readers, every operation one transaction."""
