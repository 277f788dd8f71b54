#!/bin/sh
# Build and publish samples-gfn1: datasets/samples-gfn1/build.sh qm7.extxyz.gz WORK [TO]
#
# After qm7-gfn1: its split says which of the 2,000 molecules are for testing. The other structures are those of datasets/samples.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../sources.sh"
source=$1 work=$2 to=${3:-$here/..}
is_source "$source" ef3f9b2b59b85308de4ae7359e44dddef7180d8336e4d96383c05bdadffc1bba

mkdir -p "$work"
[ -e "$work/qm7.extxyz.gz" ] || python "$here/choose.py" "$source" "$work/qm7.extxyz.gz"
for set in crystals.extxyz gscdb138.extxyz.gz mopac_pm7.extxyz.gz tmqm.extxyz.gz; do cp "$here/../samples/$set" "$work"; done
mlipq label "$work"/*.extxyz "$work"/*.extxyz.gz -o "$work/labelled" \
    --reference pbe0_energy=atomization_energy:energy:eV:PBE0 \
    --reference wb97mv_energy=energy:energy:eV:wB97M-V/def2-QZVPPD
mlipq data split "$work/labelled" --by info/split --name qm7
mlipq data publish "$work/labelled" --to "$to" --name samples-gfn1 --version 1.0.0 --licence "MIT AND CC-BY-4.0 AND BSD-3-Clause" --shard-mb 1 \
    --description "What comes with mlipq, to try it: 2,000 QM7 molecules with PBE0 atomisation energies, and some 300 structures of 83 elements from GSCDB138 (with wB97M-V energies), MOPAC's PM7 set and tmQM, labelled with GFN1-xTB. The split divides the QM7 molecules alone, as that of qm7-gfn1 does." \
    --citation "QM7: M. Rupp et al., Phys. Rev. Lett. 108, 058301 (2012). GSCDB138: arXiv:2508.13468 (2025). PM7: J. J. P. Stewart, J. Mol. Model. 19, 1 (2013). tmQM: D. Balcells, B. B. Skjelstad, J. Chem. Inf. Model. 60, 6135 (2020)"
