#!/bin/sh
# Install what the integration tests compare with, from Debian's packages: the xtb program.
set -eu
command -v xtb > /dev/null && exit 0
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
as_root apt-get update -qq
as_root apt-get install -y -qq --no-install-recommends xtb
