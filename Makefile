# Two commands set everything up: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test test-integration test-peers check bench-labeling bench-storage bench-training bench-training-peers docs docs-serve install clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(INSTALLED)
	$(BIN)/mlipq label datasets/samples -o demo
	$(BIN)/mlipq info demo
	$(BIN)/mlipq bench demo -o demo-bench

# Files of tests side by side, each process on a core of its own.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n logical --maxprocesses 4 --dist loadfile

test: $(INSTALLED)
	$(PYTEST)

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test-integration: $(INSTALLED)
	tests/integration/install.sh
	$(PYTEST) -m "integration or slow"

test-peers: $(INSTALLED)
	tests/peers/run.sh

# dxtb needs torch, which must not share a process, nor an environment, with the labeler.
DXTB := .venv-dxtb
$(DXTB)/.installed:
	$(PYTHON) -m venv $(DXTB)
	$(DXTB)/bin/pip install --quiet --disable-pip-version-check torch==2.13.0 'dxtb[libcint]==0.4.0' ase
	touch $@

bench-labeling: $(INSTALLED) $(DXTB)/.installed
	$(BIN)/python -m benchmarks.labeling.compare --dxtb-python $(DXTB)/bin/python
	$(BIN)/python -m benchmarks.labeling.where
	$(BIN)/python -m benchmarks.labeling.efficiency
	$(BIN)/python -m benchmarks.labeling.plan
	$(BIN)/python -m benchmarks.labeling.memory
	$(BIN)/python -m benchmarks.labeling.scale_plan
	$(BIN)/python -m benchmarks.labeling.scale_runner
	$(BIN)/python -m benchmarks.labeling.scale_folder

docs: $(INSTALLED)
	$(BIN)/mkdocs build --strict

docs-serve: $(INSTALLED)
	$(BIN)/mkdocs serve

bench-storage: $(INSTALLED)
	$(BIN)/python -m benchmarks.storage.choose
	$(BIN)/python -m benchmarks.storage.compare
	$(BIN)/python -m benchmarks.storage.shuffle
	$(BIN)/python -m benchmarks.storage.streaming

# Some three hours on two cores; what was stopped goes on.
bench-training: $(INSTALLED)
	$(BIN)/python -m benchmarks.training.backbones --dataset datasets/qm7-gfn1/1.0.0
	$(BIN)/python -m benchmarks.training.inference --dataset datasets/qm7-gfn1/1.0.0
	$(BIN)/python -m benchmarks.training.accuracy --runs out/accuracy
	$(BIN)/python -m benchmarks.training.charges --runs out/charges --tune
	$(BIN)/python -m benchmarks.training.charges --runs out/charges

bench-training-peers: $(INSTALLED)
	benchmarks/training/peers/install.sh
	$(BIN)/python -m benchmarks.training.peers.compare

clean:
	rm -rf $(VENV) $(DXTB) .venv-peers* demo demo-bench dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
