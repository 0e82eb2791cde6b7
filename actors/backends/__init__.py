"""Backends: what actors run on. `threads` gives each actor a thread, `greenlets` runs all on one hub."""
