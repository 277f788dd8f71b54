#!/bin/sh
# Build and publish qm7-gfn1: datasets/qm7-gfn1/build.sh qm7.extxyz.gz WORK [TO]
#
# The source is QM7 as extended XYZ, with PBE0 atomisation energies in eV, made from github.com/qmlcode/tutorial at da714b16 (MIT).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../sources.sh"
source=$1 work=$2 to=${3:-$here/..}
is_source "$source" ef3f9b2b59b85308de4ae7359e44dddef7180d8336e4d96383c05bdadffc1bba

mlipq label "$source" -o "$work" \
    --reference pbe0_energy=atomization_energy:energy:eV:PBE0 \
    --reference dftb_energy=col3:energy:eV:DFTB --strict
mlipq data split "$work" --by random --seed 1 --parts test=1101,pool=rest
mlipq data publish "$work" --to "$to" --name qm7-gfn1 --version 1.0.0 --licence MIT --shard-mb 1 \
    --description "7,101 small organic molecules of H, C, N, O and S with up to seven heavy atoms: QM7, with its PBE0 atomisation energies, labelled with GFN1-xTB. The split is fixed: 1,101 test molecules at random, the rest a pool to draw training and validation molecules from." \
    --citation "M. Rupp, A. Tkatchenko, K.-R. Müller, O. A. von Lilienfeld, Phys. Rev. Lett. 108, 058301 (2012)"
