#!/bin/sh
# What needs other projects' packages, in environments of their own (their versions clash):
# recompute the values of dxtb and e3nn and compare them with the committed ones; read every export by its peer's own reader.
set -eu
cd "$(dirname "$0")/../.."

# environment NAME PACKAGE…: make .venv-NAME with these packages
environment() {
    venv=.venv-$1
    shift
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "$@"
}

environment peers torch==2.13.0 dxtb==0.4.0 e3nn==0.6.0
again=$(mktemp -d)
trap 'rm -rf "$again"' EXIT
mkdir -p "$again/tests" "$again/datasets"
cp -r tests/oracles "$again/tests/oracles"
cp -r datasets/samples "$again/datasets/samples"
for program in dxtb e3nn; do .venv-peers/bin/python "$again/tests/oracles/make_${program}_values.py"; done
.venv/bin/python tests/peers/compare.py tests/oracles "$again/tests/oracles"

environment peers-mace torch==2.13.0 mace-torch==0.3.16
environment peers-nequip torch==2.13.0 nequip==0.19.1
environment peers-fairchem torch==2.13.0 fairchem-core==2.24.0
environment peers-files datasets==5.2.0 h5py==3.16.0 zarr==3.1.6
mkdir "$again/exports"
.venv/bin/python tests/peers/exports/make.py "$again/exports"
for peer in mace nequip fairchem files; do .venv-peers-$peer/bin/python tests/peers/exports/read_$peer.py "$again/exports"; done
