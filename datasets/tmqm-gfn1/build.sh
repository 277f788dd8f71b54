#!/bin/sh
# Label all of tmQM and publish it as tmqm-gfn1: datasets/tmqm-gfn1/build.sh tmqm_86k.extxyz.gz WORK TO
#
# Hours of all cores; stopped, it goes on when it is started again. TO is a folder elsewhere: the shards are too large for a
# repository, and the catalogue does not list them.
# The source is tmQM as extended XYZ, made from github.com/uiocompcat/tmQM, release of 2020 (MIT).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../sources.sh"
source=$1 work=$2 to=$3
is_source "$source" 95ff640344ecf14e41fcf57da4446d1201577a8ad4132661bc4774d66a7d1df2

mlipq label "$source" -o "$work" --time-limit 900 # large ones for which nothing converges take minutes
mlipq data split "$work" --by random --seed 1 --parts test=8665,pool=rest
mlipq data publish "$work" --to "$to" --name tmqm-gfn1 --version 1.0.0 --licence MIT \
    --description "The transition-metal complexes of tmQM, release of 2020: closed-shell, charges -1, 0 and +1, GFN2-xTB geometries, labelled with GFN1-xTB; no DFT labels. Those for which GFN1 has no solution that is physical stand in failures.csv." \
    --citation "D. Balcells, B. B. Skjelstad, J. Chem. Inf. Model. 60, 6135 (2020)"
