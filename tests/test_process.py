"""The killable child: it answers, is stopped when it must be, and never outlives its parent."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlipq.process import Child, ChildDied, ChildTimeout

CHILD = """
import ctypes, os, signal, sys
import numpy as np
from mlipq import process

def handle(header, arrays):
    do = header.get("do")
    if do == "spin":  # inside one C loop, and deaf to what can be ignored
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        print("spinning", file=sys.stderr, flush=True)
        sum(range(10**15))
    elif do == "print":
        print("junk from Python", flush=True)
        os.write(1, b"junk from a system call")
        ctypes.CDLL(None).puts(b"junk from C")
        ctypes.CDLL(None).fflush(None)
    elif do == "grumble":
        sys.stderr.write("x" * 3_000_000)
    elif do == "exit":
        os.write(2, b"last words")
        os._exit(7)
    elif do == "abort":
        os.abort()
    elif do == "raise":
        raise RuntimeError("a bug")
    elif do == "allocate":
        try:
            np.zeros(header["bytes"], dtype="u1")
        except MemoryError:
            return {"enough": False}, {}
        return {"enough": True}, {}
    return header, arrays

process.serve({"pid": os.getpid()}, handle, process.protect())
"""

PARENT = """
import sys, threading, time
from mlipq.process import Child

made = []
thread = threading.Thread(target=lambda: made.append(Child(["-c", sys.argv[1]])))
thread.start()
thread.join()  # the thread that made the child is gone
time.sleep(0.3)
child = made[0]
assert child.call({"n": 1}, {}, 10)[0] == {"n": 1}
print(child.pid, flush=True)
child.call({"do": sys.argv[2]}, {}, 3600)
time.sleep(3600)
"""


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def gone_within(seconds: float, pid: int) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if gone(pid):
            return True
        time.sleep(0.01)
    return gone(pid)


@pytest.fixture
def child():
    child = Child(["-c", CHILD])
    yield child
    child.close()


@pytest.fixture(scope="module")
def echo():
    child = Child(["-c", CHILD])
    yield child
    child.close()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
dtypes = hnp.scalar_dtypes().filter(lambda dtype: dtype.kind in "biufc")
arrays = dtypes.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0)))


@settings(max_examples=60, deadline=None)
@given(
    header=st.dictionaries(st.text().filter(lambda key: key != "do"), json_values, max_size=4),
    sent=st.dictionaries(st.text(max_size=8), arrays, max_size=3),
)
def test_messages_come_back_as_they_went(echo, header, sent):
    answer, found = echo.call(header, sent, 30)
    assert answer == header and list(found) == list(sent)
    for name, values in sent.items():
        assert found[name].dtype == values.dtype and found[name].shape == values.shape
        assert found[name].tobytes() == values.tobytes()


def test_strided_arrays_and_those_larger_than_a_pipe(echo):
    sent = {"turned": np.arange(12.0).reshape(3, 4).T[::2], "large": np.arange(3_000_000)}
    _, found = echo.call({}, sent, 30)
    assert all(np.array_equal(found[name], values) for name, values in sent.items())


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.sampled_from([0, 1, 1000, 20_000, 100_000]), max_size=8))
def test_requests_sent_ahead_are_answered_in_order(echo, sizes):
    """Also those larger than a pipe holds, whose answers are too: neither side may wait for the other for ever."""
    requests = [({"n": n}, {"values": np.full(size, n)}, 30) for n, size in enumerate(sizes)]
    for (header, sent, _), (answer, found) in zip(requests, echo.map(requests), strict=True):
        assert answer == header and np.array_equal(found["values"], sent["values"])


def test_what_was_answered_before_a_death_is_kept(child):
    answers = child.map(({"do": "exit"} if n == 2 else {"n": n}, {}, 30) for n in range(5))
    assert [next(answers)[0] for _ in range(2)] == [{"n": 0}, {"n": 1}]
    with pytest.raises(ChildDied, match="exit code 7"):
        next(answers)


def test_a_child_left_with_unanswered_requests_is_ended(child):
    answers = child.map(({"n": n}, {}, 30) for n in range(5))
    assert next(answers)[0] == {"n": 0}
    answers.close()
    assert gone(child.pid)


def test_the_greeting_comes_from_the_child(child):
    assert child.greeting == {"pid": child.pid} and child.pid != os.getpid()


def test_a_child_that_spins_in_c_is_killed_at_its_limit(child):
    started = time.monotonic()
    with pytest.raises(ChildTimeout, match="no answer within 1 s"):
        child.call({"do": "spin"}, {}, 1.0)
    assert time.monotonic() - started < 5 and gone(child.pid)


@pytest.mark.parametrize(
    ("do", "said"),
    [("exit", "ended with exit code 7: last words"), ("abort", "killed by SIGABRT"), ("raise", "RuntimeError: a bug")],
)
def test_how_a_child_died_is_told(child, do, said):
    with pytest.raises(ChildDied, match=said):
        child.call({"do": do}, {}, 30)
    assert gone(child.pid)


def test_a_child_killed_from_outside(child):
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(ChildDied, match="killed by SIGKILL"):
        child.call({}, {}, 30)


def test_much_on_stderr_is_forgotten_but_for_its_end(child):
    for _ in range(3):
        child.call({"do": "grumble"}, {}, 30)
    with pytest.raises(ChildDied) as died:
        child.call({"do": "exit"}, {}, 30)
    assert str(died.value) == "ended with exit code 7: last words"


def test_what_libraries_print_is_not_taken_for_an_answer(child):
    for n in range(3):
        assert child.call({"do": "print", "n": n}, {}, 30)[0] == {"do": "print", "n": n}


def test_the_memory_limit_is_felt():
    limited, free = Child(["-c", CHILD], memory_limit=2 << 30), Child(["-c", CHILD])
    try:
        request = {"do": "allocate", "bytes": 3 << 30}  # never touched, so no memory is used
        assert limited.call(request, {}, 30)[0] == {"enough": False}
        assert free.call(request, {}, 30)[0] == {"enough": True}
        assert limited.call({"n": 1}, {}, 30)[0] == {"n": 1}
    finally:
        limited.close()
        free.close()


def test_a_child_that_does_not_start():
    with pytest.raises(ChildDied, match=r"(?s)exit code 1: .*ModuleNotFoundError"):
        Child(["-c", "'' ; import a_module_that_nobody_wrote"])
    with pytest.raises(ChildTimeout):
        Child(["-c", "import time; time.sleep(60)"], start_limit=0.5)


def test_an_interrupted_wait_ends_the_child(child):
    """Its answer, still to come, must not be taken for the answer to the next request."""

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(KeyboardInterrupt):
            child.call({"do": "spin"}, {}, 30)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert gone(child.pid)


@pytest.mark.parametrize("do", ["nothing", "spin"])
def test_no_child_outlives_a_killed_parent(do):
    with subprocess.Popen([sys.executable, "-c", PARENT, CHILD, do], stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        time.sleep(0.3)
        assert not gone(pid)
        parent.kill()
    assert gone_within(1.0, pid)


@pytest.fixture
def by_hand():
    environment = {**os.environ, "MLIPQ_CHILD_PARENT": str(os.getpid()), "MLIPQ_CHILD_MEMORY": "0"}

    def start(**changes) -> subprocess.Popen:
        command = [sys.executable, "-c", CHILD]
        pipes = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
        return subprocess.Popen(command, env={**environment, **changes}, **pipes)

    return start


@pytest.mark.parametrize("sent", [b"", b"\x10\x00", b"\x10\x00\x00\x00" + bytes(8) + b"[{}"])
def test_the_end_of_its_pipe_ends_a_child_quietly(by_hand, sent):
    process = by_hand()
    _, complaint = process.communicate(sent, timeout=10)
    assert (process.returncode, complaint) == (0, b"")


def test_a_child_whose_parent_is_gone_already_does_not_start(by_hand):
    process = by_hand(MLIPQ_CHILD_PARENT="1")
    answer, complaint = process.communicate(timeout=10)
    assert process.returncode == 1 and answer == b"" and b"the parent process is gone" in complaint


FORKING = """
import json, os, sys
from mlipq.process import Child

first = Child(["-c", sys.argv[1]])
pid = os.fork()
if pid == 0:
    second = Child(["-c", sys.argv[1]])
    second.call({"n": 2}, {}, 10)
    second.close()
    os._exit(0)
status = os.waitpid(pid, 0)[1]
print(json.dumps([status, first.call({"n": 1}, {}, 10)[0]]))
"""


def test_a_forked_process_starts_children_of_its_own():
    command = [sys.executable, "-c", FORKING, CHILD]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert json.loads(done.stdout) == [0, {"n": 1}]
