"""The command line: verbs, and how errors become messages and exit codes.

Exit codes: 0 done; 1 a check said no; 2 usage or input error, nothing done; 3 incomplete, the same command goes on.
"""

import signal
import sys
import warnings
from collections.abc import Callable
from typing import cast

import typer

import mlipq
from mlipq.cli import (
    bench,
    cache,
    data,
    dataset,
    doctor,
    evaluate,
    export,
    importing,
    inspect,
    label,
    package,
    predict,
    report,
    steps,
    train,
)
from mlipq.cli.options import examples
from mlipq.cli.output import error_console, print_json, printable
from mlipq.errors import MlipqError

_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__bases__[0])
"""What is wrong with the arguments; Typer gives the class no public name."""
_INTERRUPTED = 130
"""What Typer makes of Ctrl-C."""
_OF_TRAINING = ("torch", "vesin", "safetensors", "matplotlib", "scipy")
"""Packages that labeling does without."""

app = typer.Typer(
    name="mlipq",
    help="Label structures with GFN1-xTB, with orbital charges beside energies and forces, and read the result anywhere.",
    epilog=examples("mlipq doctor", "mlipq label molecules.extxyz -o out", "mlipq info out"),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"mlipq {mlipq.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    """Options of mlipq itself."""


for module in (
    label,
    steps,
    dataset,
    inspect,
    export,
    importing,
    data,
    train,
    evaluate,
    predict,
    package,
    bench,
    report,
    cache,
    doctor,
):
    module.add_verbs(app)


def main() -> None:
    """Run the command line; what goes wrong is one message and an exit code, never a traceback."""
    signal.signal(signal.SIGTERM, _end)
    # users have no use for the place
    warnings.formatwarning = lambda message, *place: f"mlipq: warning: {printable(str(message))}\n"
    try:
        code = app(standalone_mode=False) or 0
    except _UsageError as error:
        code = _complain(error.format_message(), error.exit_code, show=error.show)
    except MlipqError as error:
        code = _complain(str(error), error.exit_code)
    except ModuleNotFoundError as error:
        if error.name not in _OF_TRAINING:
            raise
        code = _complain(
            f"this verb needs the package {error.name}; install what trains:  pip install 'mlipq[train]'", 2
        )
    except OSError as error:  # a disk that is full or gone, a folder that turned read-only
        where = f"{error.filename}: " if error.filename else ""
        what = error.strerror or f"{type(error).__name__} {error}".strip()  # Dask's of a lost connection have no number
        code = _complain(f"{where}{what}; mend that, then run the same command again", 3)
    if code == _INTERRUPTED:
        code = _complain("interrupted; the same command goes on from here", 3)
    sys.exit(code)


def _end(*_: object) -> None:
    """Take a scheduler's warning like Ctrl-C; it may come again while this process ends."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _complain(message: str, code: int, show: Callable[[], None] | None = None) -> int:
    """Print an error, also as JSON where that was asked for; return the exit code."""
    if "--json" in sys.argv:
        print_json({"error": message, "exit_code": code})
    if show is not None:
        show()
    else:
        error_console().print(
            f"mlipq: {printable(message)}", style="red", highlight=False, markup=False, soft_wrap=True
        )
    return code
