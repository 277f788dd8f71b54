shares=( # the partitions of each task
{% for share in tasks %}
{{ share }}
{% endfor %}
)
share=${shares[task]:?task $task is not one of this script}

# What is under way goes to the node's own disk. TMPDIR may be that of the login node, and not exist here.
TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/mlipq-XXXXXX" 2>/dev/null || mktemp -d /tmp/mlipq-XXXXXX) || exit 1
export TMPDIR MLIPQ_CACHE="${MLIPQ_CACHE:-$TMPDIR/cache}" OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1
trap 'rm -rf "$TMPDIR"' EXIT

echo "task $task on $HOSTNAME: partitions $share"
trap 'kill -TERM $!' TERM # a warning before the end is for mlipq
{{ partition }} "$share" {{ limits }} &
wait $! || wait $! # a signal ends the first one early
