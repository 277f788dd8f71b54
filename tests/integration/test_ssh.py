"""Labeling on hosts that are reached by ssh: a real sshd, TLS between the processes that it starts."""

import psutil
import pytest
import yaml
from jobs import Running, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


@pytest.fixture
def cluster(sshd, tmp_path):
    """A profile with the scheduler and two workers on this machine."""
    path = tmp_path / "cluster.yaml"
    options = {"hosts": ["127.0.0.1"] * 3, "connect_options": sshd.connect_options}
    path.write_text(yaml.safe_dump({"kind": "ssh", "options": options}))
    return path


def started_by(sshd) -> list[psutil.Process]:
    """What this sshd started."""
    listening = [process for process in psutil.process_iter() if str(sshd.folder / "config") in _command(process)]
    return [child for process in listening for child in process.children(recursive=True)]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_a_killed_worker_is_replaced_and_nothing_is_left_behind(sshd, cluster, job, undisturbed):
    with Running("label", job.out, "--cluster", cluster) as running:
        assert until(lambda: job.done() >= 2 or running.client.poll() is not None, 200)
        found = started_by(sshd)
        commands = ["\0".join(_command(process)) for process in found]
        assert any("tls://" in command for command in commands)
        assert not any("PRIVATE KEY" in command for command in commands)
        nanny = next(process for process in found if "Nanny" in "\0".join(_command(process)))
        nanny.children()[0].kill()
        code, _, said = running.end(300)
    assert code == 0, said
    assert job.content() == undisturbed.content()
    assert until(
        lambda: not [process for process in started_by(sshd) if "dask_spec" in "\0".join(_command(process))], 30
    )
    logs = [path.read_text() for path in (job.out / "logs" / "workers").glob("*.log")]
    assert len(logs) >= 2 and all("tls://" in log and "tcp://" not in log for log in logs)
