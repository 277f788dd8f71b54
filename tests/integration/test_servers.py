"""The servers that other tests here start do what these tests rely on."""

import asyncio
import subprocess
import sys

import asyncssh
import pytest
from jobs import until

pytestmark = pytest.mark.integration

ANSWER = """
import socket
server = socket.create_server(("0.0.0.0", 7000))
print("up", flush=True)
while True:
    with server.accept()[0] as client:
        client.sendall(socket.gethostname().encode())
"""
ASK = "import socket, sys; print(socket.create_connection((sys.argv[1], 7000), 3).recv(99).decode(), end='')"


def test_slurm_runs_a_job_and_an_array_and_cancels(slurm, tmp_path):
    out = tmp_path / "job"
    one = slurm.submit(f"#!/bin/sh\necho done in $SLURM_JOB_ID > {out}\n")
    array = slurm.submit("#!/bin/sh\nexit $SLURM_ARRAY_TASK_ID\n", "--array=0-2")
    endless = slurm.submit("#!/bin/sh\nsleep 1000\n")

    def states():
        return {job.id: job.state for job in slurm.history()}

    assert until(lambda: states()[endless] == "RUNNING"), slurm.logs()
    assert until(lambda: any("sleep" in process.name() for process in slurm.processes(endless)))
    slurm.cancel(endless)
    assert until(lambda: not slurm.queue()), slurm.logs()
    ended = {one: "COMPLETED", f"{array}_0": "COMPLETED", f"{array}_1": "FAILED", endless: "CANCELLED"}
    assert ended.items() <= states().items()
    assert out.read_text() == f"done in {one}\n" and slurm.processes(endless) == []


def test_hosts_reach_each_other_until_one_is_cut_off(hosts):
    scheduler, client, worker, other = hosts
    with worker.popen(sys.executable, "-c", ANSWER, stdout=subprocess.PIPE) as server:
        assert server.stdout.readline() == "up\n"
        for host in hosts:
            assert host.run(sys.executable, "-c", ASK, worker.address).stdout == "worker-a"
        worker.cut()
        assert "timed out" in client.run(sys.executable, "-c", ASK, worker.address).stderr
        assert "refused" in client.run(sys.executable, "-c", ASK, other.address).stderr
        worker.restore()
        assert scheduler.run(sys.executable, "-c", ASK, worker.address).stdout == "worker-a"
        server.kill()


async def _said(sshd, command):
    async with asyncssh.connect("127.0.0.1", **sshd.connect_options) as connection:
        return (await connection.run(command)).stdout


def test_sshd_lets_its_own_key_in(sshd):
    assert asyncio.run(_said(sshd, "echo $((6 * 7))")) == "42\n"
    assert "Accepted publickey" in sshd.log()
