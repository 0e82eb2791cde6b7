"""Approvals: what assets ask people, and what they decided. Whatever follows for a run is the room of runs' own."""
