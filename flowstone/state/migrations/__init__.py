"""The steps that lead from an empty store to the present tables, as numbered SQL files."""
