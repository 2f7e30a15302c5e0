"""``python -m zagg_catalog``: the flags of zagg's catalog command, or a subcommand."""

import sys

from zagg_catalog.cli import COMMANDS, main

if __name__ == "__main__":
    arguments = sys.argv[1:]
    named = bool(arguments) and arguments[0] in COMMANDS
    sys.exit(main(arguments if named else ["build", *arguments]))
