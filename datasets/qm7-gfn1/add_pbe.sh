#!/bin/sh
# Add PBE labels of some molecules to qm7-gfn1@1.0.0 and publish that as 1.1.0: datasets/qm7-gfn1/add_pbe.sh WORK [TO]
#
# pbe.yaml says which molecules; it takes about ten seconds of one core for each. GFN1 labels and the split random are those of 1.0.0.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$1 to=${2:-$here/..}

mkdir -p "$work"
mlipq label "$here/pbe.yaml" -o "$work/pbe" --strict
[ -e "$work/joined/manifest.json" ] || python "$here/../../pipelines/join_labels.py" "$here/1.0.0" "$work/pbe" -o "$work/joined"
mlipq data split "$work/joined" --by random --within random/pool --seed 2 --parts test=1000,pool=rest --name settings
mlipq data publish "$work/joined" --to "$to" --name qm7-gfn1 --version 1.1.0 --licence MIT --shard-mb 1 \
    --description "7,101 small organic molecules of H, C, N, O and S with up to seven heavy atoms: QM7, with its PBE0 atomisation energies, labelled with GFN1-xTB; 1,900 of them, 1,500 of the pool and 400 test molecules drawn at random, are labelled with PBE/def2-SVP too. The split is fixed: 1,101 test molecules at random, the rest a pool to draw training and validation molecules from; the split settings divides that pool again, to choose settings by." \
    --citation "M. Rupp, A. Tkatchenko, K.-R. Müller, O. A. von Lilienfeld, Phys. Rev. Lett. 108, 058301 (2012)"
