#!/bin/sh
# Install what the integration tests need from Debian's packages: the xtb program, nginx, and a browser.
set -eu
PATH="$PATH:/usr/sbin"
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
missing=""
for program in xtb nginx chromium; do
    command -v "$program" > /dev/null || missing="$missing $program"
done
[ -z "$missing" ] && exit 0
as_root apt-get update -qq
as_root apt-get install -y -qq --no-install-recommends $missing
