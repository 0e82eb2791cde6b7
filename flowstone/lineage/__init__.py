"""Lineage: what was made from what, and as which run had made it."""
