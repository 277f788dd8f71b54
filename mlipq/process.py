"""The killable child: a separate process that answers one request at a time, under limits.

A calculation that hangs inside a compiled library cannot be stopped from within its own process. So work that may hang
or crash runs in a child; the parent knows at every moment which request it is working on, and can kill it.

Messages on the pipes are length-prefixed: a JSON header, then the raw bytes of the arrays that the header lists. Nothing
is pickled.
"""

import ctypes
import fcntl
import json
import math
import os
import resource
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

Header = dict[str, Any]
Arrays = dict[str, NDArray]
Request = tuple[Header, Arrays, float]
"""What to do, the arrays that go with it, and the seconds it may take."""

_PREFIX = struct.Struct("<IQ")
_PR_SET_PDEATHSIG = 1
_STDERR_KEPT = 2000
_STDERR_LIMIT = 1 << 20


@cache
def _spawner() -> ThreadPoolExecutor:
    """Return a thread that lives as long as this process: PR_SET_PDEATHSIG fires when the *thread* that spawned ends."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="mlipq-spawner")


os.register_at_fork(after_in_child=_spawner.cache_clear)  # a fork has none of its parent's threads


class ChildTimeout(Exception):
    """The child passed its time limit and was killed."""


class ChildDied(Exception):
    """The child ended by itself: crashed, was killed from outside, or ran into its memory limit."""


class Child:
    """A child process that answers one request at a time.

    Parameters
    ----------
    command
        Arguments after the Python interpreter: ``["-m", "mlipq.xtb.child", …]``.
    environment
        Variables that differ from this process's own.
    memory_limit
        Address space in bytes (``RLIMIT_AS``), or ``None``.
    start_limit
        Seconds from spawning to the child's greeting.

    Attributes
    ----------
    greeting
        Header of the child's first message, sent by :func:`serve` when it is ready.

    Raises
    ------
    ChildTimeout, ChildDied
        When the child does not get as far as its greeting.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        memory_limit: int | None = None,
        start_limit: float = 120.0,
    ) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        limits = {"MLIPQ_CHILD_PARENT": str(os.getpid()), "MLIPQ_CHILD_MEMORY": str(memory_limit or 0)}
        spawned = _spawner().submit(
            subprocess.Popen,
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env={**os.environ, **(environment or {}), **limits},
            start_new_session=True,  # a Ctrl-C in the terminal is for the parent to handle
        )
        self._process = spawned.result()
        assert self._process.stdin is not None
        self._pipe_bytes = _pipe_bytes(self._process.stdin)
        self.greeting: Header = self._receive(start_limit)[0]

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._process.pid

    def call(self, header: Header, arrays: Arrays, limit: float) -> tuple[Header, Arrays]:
        """Send one request and wait for its answer (see :meth:`map`)."""
        (answer,) = self.map([(header, arrays, limit)])
        return answer

    def map(self, requests: Iterable[Request]) -> Generator[tuple[Header, Arrays], None, None]:
        """Answer requests in order; each is sent while the child works on the one before, so that it never waits.

        Whatever interrupts this ends the child: an answer still to come would be taken for that to a later request.

        Parameters
        ----------
        requests
            A header of anything JSON can hold, arrays, and a limit in seconds. It counts from when the answer is waited for,
            and the child is at work on it by then; past it the child is killed.

        Yields
        ------
        tuple[Header, Arrays]
            What the child's handler returned.

        Raises
        ------
        ChildTimeout
            If the limit passed; the child is dead.
        ChildDied
            If the child ended; the message says how and quotes the last line of its stderr. In either case it was at work
            on the first request without an answer.
        """
        limits: deque[float] = deque()
        try:
            for header, arrays, limit in requests:
                message = _encoded(header, arrays)
                if limits and len(message) > self._pipe_bytes:  # would wait for a child that waits to be read
                    yield self._receive(limits.popleft())
                self._send(message)
                limits.append(limit)
                if len(limits) == 2:
                    yield self._receive(limits.popleft())
            while limits:
                yield self._receive(limits.popleft())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the child, whatever it is doing."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._stderr):
            if stream is not None and not stream.closed:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass  # a request was still buffered for the dead child

    def _send(self, message: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(message)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise ChildDied(self._epitaph()) from None

    def _receive(self, limit: float) -> tuple[Header, Arrays]:
        deadline = time.monotonic() + limit
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()

        def read(count: int) -> bytes:
            parts = bytearray()
            while len(parts) < count:
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                    self.close()
                    raise ChildTimeout(f"no answer within {limit:.0f} s")
                part = os.read(descriptor, min(count - len(parts), 1 << 20))
                if not part:
                    raise ChildDied(self._epitaph())
                parts += part
            return bytes(parts)

        message = _read_message(read)
        # Now, since a child that has answered is not about to leave its last words.
        if os.fstat(self._stderr.fileno()).st_size > _STDERR_LIMIT:
            self._stderr.seek(0)  # the child writes where this handle points
            self._stderr.truncate()
        return message

    def _epitaph(self) -> str:
        """Say how the child ended."""
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, self._stderr.tell() - _STDERR_KEPT))
        last_words = self._stderr.read().decode(errors="replace").strip().splitlines()
        self.close()
        return f"{how}: {last_words[-1]}" if last_words else how


def serve(greeting: Header, handle: Callable[[Header, Arrays], tuple[Header, Arrays]], replies: BinaryIO) -> None:
    """Answer requests from standard input until it ends; runs in the child.

    Parameters
    ----------
    greeting
        First message, sent at once.
    handle
        Makes an answer of each request.
    replies
        The stream that :func:`protect` returned.
    """
    requests = sys.stdin.buffer

    def read(count: int) -> bytes:
        data = requests.read(count)
        if len(data) < count:  # the parent is gone or has closed the pipe
            raise EOFError
        return data

    write_message(replies, greeting, {})
    while True:
        try:
            header, arrays = _read_message(read)
        except EOFError:
            return
        write_message(replies, *handle(header, arrays))


def protect() -> BinaryIO:
    """Tie this child to its parent's life and limits; return the stream for replies.

    Call it first of all in the child: what libraries print on standard output goes to standard error from here on.
    """
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(os.environ["MLIPQ_CHILD_PARENT"]):  # the parent died before the line above
        sys.exit("the parent process is gone")
    memory = int(os.environ["MLIPQ_CHILD_MEMORY"])
    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return replies


def write_message(stream: BinaryIO, header: Header, arrays: Arrays) -> None:
    """Write one message: lengths, JSON header, raw array bytes."""
    stream.write(_encoded(header, arrays))
    stream.flush()


def _encoded(header: Header, arrays: Arrays) -> bytes:
    listed = [(name, values.dtype.str, values.shape) for name, values in arrays.items()]
    head = json.dumps((header, listed)).encode()
    body = [values.tobytes() for values in arrays.values()]
    return b"".join([_PREFIX.pack(len(head), sum(map(len, body))), head, *body])


def _read_message(read: Callable[[int], bytes]) -> tuple[Header, Arrays]:
    head_size, body_size = _PREFIX.unpack(read(_PREFIX.size))
    header, listed = json.loads(read(head_size))
    body = read(body_size)
    arrays: Arrays = {}
    start = 0
    for name, dtype, shape in listed:
        values = np.frombuffer(body, dtype, math.prod(shape), start)
        arrays[name] = values.reshape(shape)
        start += values.nbytes
    return header, arrays


def _pipe_bytes(pipe: IO[bytes]) -> int:
    """Bytes that a pipe takes before its writer must wait for the reader."""
    return fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) if hasattr(fcntl, "F_GETPIPE_SZ") else select.PIPE_BUF
