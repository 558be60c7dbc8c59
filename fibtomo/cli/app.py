"""The typer application and how its errors end the process."""

import os
import sys
import traceback
from importlib import import_module
from typing import Any

import typer

import fibtomo
from fibtomo.cli.common import console, errors, join_voxel_arguments
from fibtomo.errors import CancelledError, FibtomoError

UsageProblem: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")
"""Base of what typer raises about arguments, whichever click it was built with."""

_STOPPED = 130

app = typer.Typer(
    name="fibtomo",
    help="FIB-SEM slice-and-view tomography: from raw slices to a true-to-scale, segmented, measured volume.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        console.print(f"fibtomo {fibtomo.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    pass


def run_cli(argv: list[str]) -> int:
    """Parse, run, and turn whatever happens into an exit code and one line."""
    for module in (
        "run",
        "inspect",
        "products",
        "train",
        "drift",
        "sample",
        "bench",
    ):  # they register their commands, most used first
        import_module(f"fibtomo.cli.{module}")
    debug = "--debug" in argv
    arguments = join_voxel_arguments([a for a in argv if a != "--debug"])
    try:
        result = app(arguments, prog_name="fibtomo", standalone_mode=False)
    except UsageProblem as error:
        if arguments:
            _say(f"{error.format_message().rstrip('.')}; see fibtomo {_command(arguments)}--help")
        return 2
    except (typer.Abort, KeyboardInterrupt, CancelledError):
        result = _STOPPED
    except FibtomoError as error:
        return _fail(error, debug, 2 if isinstance(error, ValueError | OSError | MemoryError | RuntimeError) else 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - the last place that can tell the user
        _fail(f"a fault in fibtomo: {type(error).__name__}: {error} (run again with --debug and report it)", debug, 1)
        return 1
    if result == _STOPPED:  # typer turns Ctrl-C into this number
        _say("stopped; finished blocks are kept, run the same command again to go on")
    return result if isinstance(result, int) else 0


def _command(arguments: list[str]) -> str:
    known = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    return f"{arguments[0]} " if arguments[0] in known else ""


def _fail(error: object, debug: bool, code: int) -> int:
    if debug:
        errors.print(traceback.format_exc(), markup=False)
    _say(" ".join(str(error).split()))
    return code


def _say(text: str) -> None:
    errors.print(f"fibtomo: {text}", style="red", markup=False)
