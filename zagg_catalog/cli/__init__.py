"""The command line: ``zagg-catalog``."""

from zagg_catalog.cli.main import COMMANDS, main

__all__ = ["COMMANDS", "main"]
