"""What the scripts here have in common: what goes wrong is one message and an exit code, as of mlipq's own verbs."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

from mlipq.cli.output import error_console, printable
from mlipq.errors import MlipqError
from mlipq.interrupts import interrupts_spared


def run_script(name: str, run: Callable[[], None], extras: dict[str, str] | None = None) -> None:
    """Run a script, and end it as a verb of mlipq would end.

    Parameters
    ----------
    name
        Of the script.
    run
        What it does.
    extras
        Packages that mlipq does not bring by itself, and the extra of mlipq that each comes with.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a scheduler's warning is like Ctrl-C
    try:
        run()
    except MlipqError as error:
        _complain(name, str(error), error.exit_code)
    except ModuleNotFoundError as error:
        extra = (extras or {}).get(error.name or "")
        if extra is None:
            raise
        _complain(name, f"this needs the package {error.name}; install it:  pip install 'mlipq[{extra}]'", 2)
    except KeyboardInterrupt:
        _complain(name, "interrupted; the same command goes on from here", 3)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _complain(name, f"{where}{error.strerror}; mend that, then run the same command again", 3)


@contextmanager
def interrupts_as_sigterm() -> Iterator[None]:
    """Let Ctrl-C come as SIGTERM, which RDKit leaves alone.

    While RDKit searches for bonds or a conformer it handles SIGINT itself: it may swallow it, or find nothing. To be entered before
    libraries start threads, since a signal goes to any thread that does not block it.
    """
    over = False

    def pass_on() -> None:
        while signal.sigwait({signal.SIGINT}) and not over:
            os.kill(os.getpid(), signal.SIGTERM)

    with interrupts_spared():
        waiting = Thread(target=pass_on, daemon=True)
        waiting.start()
        try:
            yield
        finally:
            over = True
            signal.pthread_kill(waiting.ident or 0, signal.SIGINT)
            waiting.join()


def _complain(name: str, message: str, code: int) -> None:
    error_console().print(f"{name}: {printable(message)}", style="red", highlight=False, markup=False, soft_wrap=True)
    sys.exit(code)
