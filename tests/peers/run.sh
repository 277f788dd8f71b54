#!/bin/sh
# Recompute the values of peers that live in an environment of their own (dxtb, e3nn), and compare with the committed ones.
set -eu
cd "$(dirname "$0")/../.."
venv=.venv-peers
[ -x $venv/bin/python ] || python3 -m venv $venv
$venv/bin/pip install --quiet --disable-pip-version-check torch==2.13.0 dxtb==0.4.0 e3nn==0.6.0
again=$(mktemp -d)
trap 'rm -rf "$again"' EXIT
mkdir -p "$again/tests" "$again/datasets"
cp -r tests/oracles "$again/tests/oracles"
cp -r datasets/samples "$again/datasets/samples"
for program in dxtb e3nn; do $venv/bin/python "$again/tests/oracles/make_${program}_values.py"; done
.venv/bin/python tests/peers/compare.py tests/oracles "$again/tests/oracles"
