#!/bin/sh
# Build and publish gscdb138-gfn1: datasets/gscdb138-gfn1/build.sh gscdb138_qz_unique.extxyz.gz WORK [TO]
#
# The source is GSCDB138 as extended XYZ, total energies in eV, made from github.com/JiashuLiang/GSCDB138 at c4a542fa (CC BY 4.0).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../sources.sh"
source=$1 work=$2 to=${3:-$here/..}
is_source "$source" 3f32553ba2a415b4e437d9d0cfb136692a3130c5ca70a0ab4bd0beb5d38f6ef8

# energy is wB97M-V; the others are fields E_<functional>, all with def2-QZVPPD.
set -- --reference wb97mv_energy=energy:energy:eV:wB97M-V/def2-QZVPPD
for functional in B3LYP BMK CAMB3LYP CF22D DSD_PBEPBE M052X M062X M08HX MGGA_MS2h MN15 PBE0 PW6B95 SOGGA11X r2SCAN0 wB97X_V; do
    name=$(echo "$functional" | tr 'A-Z' 'a-z' | tr -d _)
    set -- "$@" --reference "${name}_energy=E_$functional:energy:eV:$functional/def2-QZVPPD"
done
mlipq label "$source" -o "$work" "$@"
mlipq data split "$work" --by group --seed 1 --parts test=0.15,pool=0.85
mlipq data split "$work" --by elements --name metals --elements Ti,Fe,Cu,Mo,Ag,Pt
mlipq data publish "$work" --to "$to" --name gscdb138-gfn1 --version 1.0.0 --licence CC-BY-4.0 --shard-mb 2 \
    --description "9,094 distinct molecules, ions and complexes of 58 elements from GSCDB138, charged and open-shell ones among them, with total energies of wB97M-V and 15 other functionals, labelled with GFN1-xTB. Split by group (formula, charge and multiplicity stay together), and once more with Ti, Fe, Cu, Mo, Ag and Pt held out." \
    --citation "GSCDB138: arXiv:2508.13468 (2025), github.com/JiashuLiang/GSCDB138"
