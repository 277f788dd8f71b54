#!/bin/sh
# Build and publish qm7-new-gfn1: datasets/qm7-new-gfn1/build.sh WORK [TO]
#
# After qm7-gfn1: new molecules, made from those of its pool. About an hour of two cores; stopped, it goes on when it is started again.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$1 to=${2:-$here/..}

mkdir -p "$work"
python "$here/../../pipelines/new_molecules.py" "$here/../qm7-gfn1/1.0.0" --split random -o "$work/qm7-new.extxyz.gz" --number 20000 --seed 0
mlipq label "$work/qm7-new.extxyz.gz" -o "$work/labelled"
mlipq data publish "$work/labelled" --to "$to" --name qm7-new-gfn1 --version 1.0.0 --licence MIT --shard-mb 4 \
    --description "20,000 small organic molecules of H, C, N, O and S that are not in QM7, labelled with GFN1-xTB; no DFT labels. Each was made from a molecule of QM7's pool (qm7-gfn1@1.0.0, split random) by a few random changes of its graph; none has the graph of a test molecule. Geometries are near a minimum of GFN1, and their group is the canonical SMILES." \
    --citation "Made by mlipq from QM7: M. Rupp, A. Tkatchenko, K.-R. Müller, O. A. von Lilienfeld, Phys. Rev. Lett. 108, 058301 (2012)"
