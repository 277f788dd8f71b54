"""The command line: verbs, and how errors become messages and exit codes.

Exit codes: 0 done; 1 a check said no; 2 usage or input error, nothing done; 3 incomplete, the same command goes on.
"""

import json
import sys

import typer

import mlipq
from mlipq.cli import dataset, doctor, label
from mlipq.cli.output import error_console
from mlipq.errors import MlipqError

app = typer.Typer(
    name="mlipq",
    help="Label structures with GFN1-xTB, with orbital charges beside energies and forces, and read the result anywhere.",
    epilog="Begin with:  mlipq label molecules.extxyz -o out",
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


for module in (label, dataset, doctor):
    module.add_verbs(app)


def main() -> None:
    """Run the command line; what goes wrong is one message and an exit code, never a traceback."""
    try:
        app()
    except MlipqError as error:
        if "--json" in sys.argv:
            print(json.dumps({"error": str(error), "exit_code": error.exit_code}))
        error_console().print(f"mlipq: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        error_console().print("mlipq: interrupted; the same command goes on from here", style="yellow", highlight=False)
        sys.exit(3)
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        sys.stderr.close()
        sys.exit(0)
