"""The errors that mlipq raises, one class for each exit code of the command line.

Every message says what was expected, what came, where, and what to do.
"""


class MlipqError(Exception):
    """Base of everything that mlipq raises on purpose."""

    exit_code = 2


class InputError(MlipqError):
    """Something handed to mlipq cannot be used; nothing was done (exit code 2)."""

    exit_code = 2


class CheckError(MlipqError):
    """A check said no: a hash, the schema, a physical bound (exit code 1)."""

    exit_code = 1


class IncompleteError(MlipqError):
    """Work is missing; the same command goes on (exit code 3)."""

    exit_code = 3


class WorkerError(MlipqError):
    """The machine, not the work, is at fault: another one may do it (exit code 3)."""

    exit_code = 3


class LabelError(MlipqError):
    """One structure could not be labelled.

    Parameters
    ----------
    error
        Short class of the failure, as it stands in the failure ledger: ``not_converged``, ``unphysical``, ``timeout`` …
    message
        One sentence: what was expected, what came, what to do.
    attempts
        How many rungs of the retry ladder were tried.
    """

    exit_code = 1

    def __init__(self, error: str, message: str, attempts: int = 0) -> None:
        super().__init__(message)
        self.error = error
        self.message = message
        self.attempts = attempts
