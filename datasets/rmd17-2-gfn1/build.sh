#!/bin/sh
# Build and publish rmd17-2-gfn1: datasets/rmd17-2-gfn1/build.sh FOLDER WORK [TO]
#
# The folder holds rmd17_{ethanol,aspirin}_{train,test}_01.npz of github.com/andersx/rmd17-npz at 4f6bb0a1 (CC0).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../sources.sh"
source=$1 work=$2 to=${3:-$here/..}
is_source "$source/rmd17_aspirin_test_01.npz" a3c3b61e782d01e6dd649a126004903f7873e8e7ee5034135abfdb8873be711d
is_source "$source/rmd17_aspirin_train_01.npz" d460f0e43a1a9411b55cdcd9cdbeb9466ae62851ac91392516ab88e4ebc68143
is_source "$source/rmd17_ethanol_test_01.npz" c3594a0f93d5992e02f9eb671392fb2e5021b3fa4f902417886966d1e4f64e1e
is_source "$source/rmd17_ethanol_train_01.npz" 096946747b8d9dcfa042b44f8debbd3da387dfe1586b659e3be789cc4927316a

mkdir -p "$work"
[ -e "$work/imported" ] || mlipq import "$source"/rmd17_aspirin_t*_01.npz "$source"/rmd17_ethanol_t*_01.npz --format rmd17 -o "$work/imported" --strict
mlipq label "$work/imported" -o "$work/labelled" --strict
mlipq data split "$work/labelled" --by info/part --name 01
mlipq data publish "$work/labelled" --to "$to" --name rmd17-2-gfn1 --version 1.0.0 --licence CC0-1.0 --shard-mb 2 \
    --description "Ethanol and aspirin of rMD17, 1,000 training and 1,000 test frames each (split 01), with PBE/def2-SVP energies and forces, labelled with GFN1-xTB. The group is the molecule." \
    --citation "A. S. Christensen, O. A. von Lilienfeld, Mach. Learn.: Sci. Technol. 1, 045018 (2020), arXiv:2007.09593"
