"""``python -m zagg_catalog``: the flags of zagg's catalog command, or a command."""

import sys

from zagg_catalog.cli import COMMANDS, main

if __name__ == "__main__":
    arguments = sys.argv[1:]
    if not arguments or arguments[0] not in COMMANDS:
        arguments = ["build", *arguments]
    sys.exit(main(arguments))
