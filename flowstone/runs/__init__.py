"""Runs: what is asked for, what of it is ready, who works on it, and what came of it."""
