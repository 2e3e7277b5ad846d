#!/bin/sh
# Runs benchmarks/<name>.py for every name given, or all of them, with the options in $ARGS.
# Usage: bench.sh PYTHON [NAME…]
set -eu
python=$1
shift

list() { for file in benchmarks/[a-z]*.py; do [ -e "$file" ] && basename "$file" .py; done; }

[ $# -gt 0 ] || set -- $(list)
[ $# -gt 0 ] || { echo "there is no benchmark yet" >&2; exit 1; }
for name in "$@"; do
    if [ ! -f "benchmarks/$name.py" ]; then
        echo "there is no benchmark named $name; there are: $(list | tr '\n' ' ')" >&2
        exit 2
    fi
    echo "== $name" >&2
    # shellcheck disable=SC2086 # options are words
    "$python" "benchmarks/$name.py" ${ARGS:-}
done
