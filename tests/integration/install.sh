#!/bin/sh
# Install what the integration tests need from Debian's packages: the xtb program, nginx, a browser, SLURM, an sshd, and ip for networks.
set -eu
PATH="$PATH:/usr/sbin:/sbin"
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
missing=""
need() { command -v "$1" > /dev/null || missing="$missing $2"; }
need xtb xtb
need nginx nginx
need chromium chromium
need slurmctld slurm-wlm
need munged munge
need sshd openssh-server
need ip iproute2
[ -z "$missing" ] && exit 0
as_root apt-get update -qq
as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
