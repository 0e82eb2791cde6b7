"""The command `flowstone`: one module for each group of commands. Nothing else imports this package."""

from flowstone.cli.app import main

__all__ = ["main"]
