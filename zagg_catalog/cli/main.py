"""The program ``zagg-catalog``: dispatch to commands, error messages and exit codes.

``zagg-catalog --help`` imports no command; a command is imported when it is called.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from zagg_catalog import __version__
from zagg_catalog.cli.common import (
    DONE,
    INTERRUPTED,
    READER_LEFT,
    WRONG_CALL,
    WRONG_DATA,
    print_error,
)
from zagg_catalog.cli.listening import listening
from zagg_catalog.cli.screens import HelpScreen
from zagg_catalog.errors import ZaggCatalogError
from zagg_catalog.files import reason
from zagg_catalog.lazy import rarely_collect
from zagg_catalog.messages import as_line

if TYPE_CHECKING:
    from cyclopts import App, CycloptsError

# Command: the place of its definition, and its summary.
COMMANDS = {
    "build": ("zagg_catalog.cli.build:app", "Fetch granules and build a shard map."),
    "map": ("zagg_catalog.cli.maps:app", "Build maps of many cycles from stored catalogs."),
    "show": ("zagg_catalog.cli.inspect:show", "Describe a catalog or a map."),
    "diff": ("zagg_catalog.cli.inspect:diff", "Compare two catalogs or two maps."),
    "export": ("zagg_catalog.cli.export:export", "Write a file as GeoJSON or GeoPackage."),
    "plot": ("zagg_catalog.cli.plot:app", "Draw a file or a release as PNG, SVG or PDF."),
    "report": ("zagg_catalog.cli.report:app", "Write a file or a release as an HTML page."),
    "convert": ("zagg_catalog.cli.export:convert", "Write a map as JSON for zagg, or as parquet."),
    "check": ("zagg_catalog.cli.inspect:check", "Check that a map belongs to a config's grid."),
    "release": ("zagg_catalog.cli.release:app", "Publish, find and maintain releases."),
    "grid": ("zagg_catalog.cli.grid:app", "Write a config for a grid, or describe one."),
    "status": ("zagg_catalog.cli.status:app", "Show what each cycle has and what it lacks."),
    "backfill": ("zagg_catalog.cli.backfill:app", "Make the maps that releases lack."),
    "grids": ("zagg_catalog.cli.pipeline:grids", "List the registered grids."),
    "notify": ("zagg_catalog.cli.pipeline:notify_app", "Announce an available cycle to Prefect."),
}
DESCRIPTION = "Granule catalogs and shard maps for the zagg aggregator."
_FOR_ALL = {"--debug", "-v", "--verbose", "-q", "--quiet"}
_OPTIONS = {
    "--version": "Print the version and exit.",
    "--install-completion": "Install tab completion for your shell.",
    "-h, --help": "Show this help, or that of a command, and exit.",
    "--debug": "Show the traceback of an error; for every command.",
    "-v, --verbose": "Say what is done, and how long it takes; for every command.",
    "-q, --quiet": "Show no progress and no repeated requests; for every command.",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; by default with the arguments of the process.

    Returns 0 if all is done, 1 if the data is wrong or incomplete, 2 if the call is wrong, 130 if
    the user interrupts it, and 141 if the reader of its output has ended. An unknown command, flag
    or value raises ``SystemExit(2)``.
    """
    # Arrow's default allocator does not return freed memory: 40 MB more for a build of one cycle.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    # OpenBLAS's second thread waits actively while numpy loads; products of vectors need none.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    rarely_collect()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments in (["-h"], ["--help"]):
        print(_overview())
        return DONE
    shown = warnings.formatwarning
    warnings.formatwarning = _warning
    own = [argument for argument in arguments if argument not in _FOR_ALL]
    try:
        with listening(
            verbose=bool({"-v", "--verbose"} & {*arguments}),
            quiet=bool({"-q", "--quiet"} & {*arguments}),
        ):
            code = _run(own)
            sys.stdout.flush()
            return code
    except BrokenPipeError:
        # The reader has enough, as `head`; Python must not complain of it while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_LEFT
    except (ZaggCatalogError, OSError) as error:
        if "--debug" in arguments:
            lines = traceback.format_exc().rstrip().split("\n")
            print("\n".join(map(as_line, lines)), file=sys.stderr)
        print_error(_text_of(error))
        return error.exit_code if isinstance(error, ZaggCatalogError) else WRONG_DATA
    except KeyboardInterrupt:
        print_error("interrupted; no partial file was written.")
        return INTERRUPTED
    finally:
        warnings.formatwarning = shown


def _warning(message: Warning | str, *place: object, **more: object) -> str:
    """Return a warning as a line; it may have names of others."""
    return f"zagg-catalog: warning: {as_line(str(message))}\n"


def _text_of(error: Exception) -> str:
    """Return an error as a sentence; those of the operating system are not ones."""
    if isinstance(error, ZaggCatalogError) or not isinstance(error, OSError) or not error.strerror:
        return str(error)
    place = "" if error.filename is None else f" {os.fsdecode(error.filename)}"
    return (
        f"The system cannot read or write{place}: {reason(error)}; check the path, its"
        " permissions and the free space."
    )


def _run(arguments: list[str]) -> int:
    from cyclopts import CycloptsError

    if not arguments:
        print(_overview(), file=sys.stderr)
        raise SystemExit(WRONG_CALL)
    if arguments[0] == "help":
        arguments = [*arguments[1:], "--help"]
    if arguments == ["--help"]:
        print(_overview())
        return DONE
    app = make_app()
    _check_order(arguments)
    if arguments in (["release"], ["grid"]):
        app.help_print(arguments)
        raise SystemExit(WRONG_CALL)
    if arguments[0] == "--install-completion":
        app.register_install_completion_command(help=_OPTIONS[arguments[0]])
    try:
        code = app(arguments, print_error=False, exit_on_error=False)
    except CycloptsError as error:
        print_error(_sentence(_unknown_option(app, arguments, error) or error))
        raise SystemExit(WRONG_CALL) from None
    return DONE if code is None else int(code)


def _check_order(arguments: list[str]) -> None:
    """Refuse a call whose flags come before its command."""
    command = next((one for one in arguments if one in COMMANDS), None)
    if command and arguments[0].startswith("-") and arguments[0] not in _OPTIONS:
        print_error(
            f"The command comes first: zagg-catalog {command} {arguments[0]} …; got"
            f" {arguments[0]} before {command}."
        )
        raise SystemExit(WRONG_CALL)


def _unknown_option(app: App, arguments: list[str], error: CycloptsError) -> CycloptsError | None:
    """Return the error of an unknown option in a call that also lacks a required one."""
    from cyclopts import MissingArgumentError, Token, UnknownOptionError

    if not isinstance(error, MissingArgumentError) or error.keyword:
        return None
    unused = (token.partition("=")[0] for token in error.unused_tokens or ())
    for name in unused:
        if name.startswith("-") and name != "-":
            _, apps, _ = app.parse_commands(arguments)
            known = apps[-1].assemble_argument_collection()
            option = Token(keyword=name, source="cli")
            return UnknownOptionError(token=option, argument_collection=known, verbose=False)
    return None


def _sentence(error: CycloptsError) -> str:
    """Return the error as a sentence, with the next step for the user."""
    from cyclopts import MissingArgumentError, UnusedCliTokensError

    if isinstance(error, MissingArgumentError) and error.argument is not None:
        name = error.argument.name
        needs = f"{error.keyword} needs a value" if error.keyword else f"{name} is required"
        return f"{needs}; see zagg-catalog {' '.join(error.command_chain or ())} --help."
    if isinstance(error, UnusedCliTokensError):
        unused = list(error.unused_tokens or ())
        text = f"Unexpected argument: {' '.join(unused)}."
        # Three further sides of a box.
        if len(unused) == 3 and all(re.fullmatch(r"-?[\d.]+", one) for one in unused):
            text += " A box is one value with commas: --bbox=W,S,E,N."
        return text
    return " ".join(str(error).split())


def make_app() -> App:
    """Return the application; its commands are imported when they are called."""
    from cyclopts import App, Parameter

    app = App(
        name="zagg-catalog",
        help=DESCRIPTION,
        version=__version__,
        default_parameter=Parameter(negative=(), allow_repeating=True),
        help_format="plaintext",
        help_formatter=HelpScreen(),
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    for name, (place, _) in COMMANDS.items():
        app.command(place, name=name)
    return app


def _overview() -> str:
    """Return the help of the program as a whole."""
    commands = {name: summary for name, (_, summary) in COMMANDS.items()}
    lines = ["Usage: zagg-catalog COMMAND [OPTIONS]", "", DESCRIPTION]
    for title, rows in (("Commands", commands), ("Options", _OPTIONS)):
        lines += ["", f"{title}:", *(f"  {name:<22}{text}" for name, text in rows.items())]
    return "\n".join([*lines, "", "zagg-catalog COMMAND --help shows the flags of a command."])
