"""Backfills: an asset or selection made for many partitions, a few at a time, however often the process ends."""
