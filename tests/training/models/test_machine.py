"""Memory is kept, and a compiled potential is the same potential."""

import subprocess
import sys

import pytest
import torch
from building import batch_of, potential_of

from mlipq.training.models.machine import compiled

ALLOCATE = """
import resource, sys, torch
if sys.argv[1] == "keep":
    from mlipq.training.models.machine import keep_freed_memory
    assert keep_freed_memory()
torch.set_num_threads(1)
def step(size):
    x = torch.ones(size, requires_grad=True)
    y = x
    for _ in range(10):
        y = y * y
    y.sum().backward()
def steps():
    for size in (500_000, 2_000_000, 1_000_000, 1_500_000):
        step(size)
for _ in range(3):
    steps()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    steps()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone can be told to")
def test_freed_memory_is_used_again_without_asking_the_system():
    faults = {
        how: int(subprocess.run([sys.executable, "-c", ALLOCATE, how], capture_output=True, check=True).stdout)
        for how in ("keep", "as it is")
    }
    assert faults["keep"] < 0.5 * faults["as it is"]


def test_a_compiler_that_is_wrong_is_not_used(samples, monkeypatch):
    potential = potential_of(backbone="schnet").train()

    def wrong(model, dynamic):
        other = potential_of(backbone="schnet").train()
        with torch.no_grad():
            other.heads["energy"].network[0].weight[0, 0] += 1
        return other

    monkeypatch.setattr(torch, "compile", wrong)
    with pytest.warns(RuntimeWarning, match="other numbers"):
        assert compiled(potential, batch_of(*samples("qm7")[:3]), ["energy"]) is potential


def test_without_a_compiler_the_potential_stays_as_it_is(samples, monkeypatch):
    potential = potential_of(backbone="schnet").train()
    monkeypatch.setenv("PATH", "")
    with pytest.warns(RuntimeWarning, match="no C"):
        assert compiled(potential, batch_of(samples("qm7")[0])) is potential


@pytest.mark.slow
@pytest.mark.parametrize("name", ["schnet"])  # the others take minutes to compile; each is compared when it is compiled
def test_a_compiled_potential_has_the_same_outputs_and_gradients(samples, name):
    potential = potential_of(backbone=name, heads=("energy", "orbital_moments"), channels=8).train()
    fast = compiled(potential, batch_of(*samples("qm7")[:3]), ["energy"])
    assert fast is not potential
    for structures in (samples("qm7")[:3], samples("qm7")[3:8], samples("gscdb138")[:4]):
        gradients, outputs = [], []
        for model in (potential, fast):
            potential.zero_grad()
            out = model(batch_of(*structures).differentiable(), ["energy"])
            loss = out["energy"].square().sum() + out["forces"].square().sum() + out["orbital_moments"].square().sum()
            loss.backward()
            outputs.append(torch.cat([values.detach().flatten() for values in out.values()]))
            gradients.append(torch.cat([p.grad.flatten() for p in potential.parameters() if p.grad is not None]))
        assert torch.allclose(*outputs, rtol=1e-9, atol=1e-9)
        assert torch.allclose(*gradients, rtol=1e-8, atol=1e-8)
