#!/bin/sh
# Environments of the other libraries, in the project's folder: their versions clash. Those of MACE and NequIP are shared with
# tests/peers/run.sh. All have the same torch.
set -eu
cd "$(dirname "$0")/../../.."

# environment NAME PIP-ARGUMENT…
environment() {
    venv=.venv-peers-$1
    shift
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "$@"
}

environment mace torch==2.13.0 mace-torch==0.3.16
environment nequip torch==2.13.0 nequip==0.19.1
# SchNetPack 2.1.1, the last for Python 3.11, cannot be imported with this torch; 2.2.0 says that it needs Python 3.12, and runs
# with 3.11. The code of PaiNN is the same in both. Its dependencies for development are left out.
environment schnetpack torch==2.13.0 ase==3.29.0 matscipy==1.3.1 vesin==0.6.2 h5py==3.16.0 pytorch-lightning==2.6.6 \
    torchmetrics==1.9.0 torch-ema==0.3 hydra-core==1.3.8 hydra-colorlog==1.2.0 tensorboard==2.21.0 tensorboardX==2.6.5 \
    rich==15.0.0 tqdm==4.70.1 fasteners==0.20 dirsync==2.2.6 progressbar==2.5 petname==2.9
environment schnetpack --no-deps --ignore-requires-python schnetpack==2.2.0
