#!/bin/sh
# Build and publish tmqm-2k-gfn1: datasets/tmqm-2k-gfn1/build.sh tmqm_86k.extxyz.gz WORK [TO]
#
# The source is tmQM as extended XYZ, made from github.com/uiocompcat/tmQM, release of 2020 (MIT).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../sources.sh"
source=$1 work=$2 to=${3:-$here/..}
is_source "$source" 95ff640344ecf14e41fcf57da4446d1201577a8ad4132661bc4774d66a7d1df2

mkdir -p "$work"
[ -e "$work/chosen.extxyz.gz" ] || python "$here/choose.py" "$source" "$work/chosen.extxyz.gz"
mlipq label "$work/chosen.extxyz.gz" -o "$work/labelled"
mlipq data split "$work/labelled" --by random --seed 1 --parts test=400,pool=rest
mlipq data publish "$work/labelled" --to "$to" --name tmqm-2k-gfn1 --version 1.0.0 --licence MIT --shard-mb 2 \
    --description "2,000 transition-metal complexes of tmQM, chosen at random and stratified by metal (at least ten of each of 30 metals), closed-shell, charges -1, 0 and +1, GFN2-xTB geometries, labelled with GFN1-xTB; no DFT labels. For one of them GFN1 has no solution that is physical: it stands in failures.csv." \
    --citation "D. Balcells, B. B. Skjelstad, J. Chem. Inf. Model. 60, 6135 (2020)"
