#!/bin/sh
# Makes the virtual environment named by $1 from requirements.lock, with Headrace itself installed for editing.
# Uses uv where it is present, otherwise venv and pip. Says clearly what is missing.
set -eu
venv=$1

fail() {
    echo "make: $1" >&2
    [ $# -lt 2 ] || echo "      $2" >&2
    exit 1
}

[ "$(uname -s)" = Linux ] || echo "make: Headrace is tried on Linux only; going on with $(uname -s)" >&2

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    for name in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python; do
        if command -v "$name" >/dev/null 2>&1 && new_enough "$name"; then
            command -v "$name"
            return
        fi
    done
}

python=$(find_python)
uv=$(command -v uv || true)
if [ -n "$uv" ] && ! "$uv" --version >/dev/null 2>&1; then uv=; fi

if [ -z "$python" ] && [ -z "$uv" ]; then
    found=$(python3 --version 2>/dev/null || echo "none")
    fail "Python 3.11 or newer is needed; found: $found" \
        "install one (for example: apt-get install python3.12 python3.12-venv), or name it: make PYTHON=/path/to/python3.12"
fi

if [ -x "$venv/bin/python" ] && ! new_enough "$venv/bin/python"; then
    echo "make: $venv holds an older Python or a broken one; making it anew" >&2
    rm -rf "$venv"
fi

if [ ! -x "$venv/bin/python" ]; then
    if [ -n "$uv" ]; then
        "$uv" venv --quiet --python "${python:-3.12}" "$venv" ||
            fail "uv could not make $venv" "look at the message above; without uv, Python's own venv is used"
    else
        "$python" -c 'import venv, ensurepip' 2>/dev/null ||
            fail "$python has no venv module" "install it: apt-get install python3-venv (Debian, Ubuntu)"
        "$python" -m venv "$venv"
    fi
fi

echo "make: installing the locked packages into $venv" >&2
advice="is the package index reachable from here? behind a proxy set HTTPS_PROXY"
if [ -n "$uv" ]; then
    "$uv" pip install --quiet --compile-bytecode --python "$venv/bin/python" -r requirements.lock || fail "installing failed" "$advice"
    "$uv" pip install --quiet --python "$venv/bin/python" --no-deps --no-build-isolation -e . ||
        fail "installing Headrace itself failed" "look at the message above"
else
    "$venv/bin/python" -m pip install --quiet -r requirements.lock || fail "installing failed" "$advice"
    "$venv/bin/python" -m pip install --quiet --no-deps --no-build-isolation -e . ||
        fail "installing Headrace itself failed" "look at the message above"
fi
# Starting takes four times as long without compiled modules, and some machines forbid Python to write them later.
"$venv/bin/python" -m compileall -q src/headrace || true
