#!/bin/sh
# Make .tools (uv, pinned) and .venv (everything, locked) from a bare python3. Repeatable; does
# nothing when nothing changed. Usage: tools/setup.sh [env|install]
set -eu

UV_VERSION=0.13.8
ASKED_FOR=${PYTHON:-}
PYTHON=${PYTHON:-python3}
PROJECTS="trade-telemetry metrics-sidecar trading-app market-engine"
cd "$(dirname "$0")/.."

die() { echo "setup: $*" >&2; exit 1; }

check_python() {
    command -v "$PYTHON" >/dev/null 2>&1 ||
        die "no $PYTHON here: install Python 3.11 or newer, or say where it is with PYTHON=/path/to/python3"
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        die "$("$PYTHON" --version 2>&1) is too old: install Python 3.11 or newer, or name one with PYTHON=/path/to/python3"
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
        die "$PYTHON has no venv module: install it (Debian and Ubuntu: apt-get install python3-venv)"
}

make_tools() {
    if [ "$(.tools/bin/uv --version 2>/dev/null | cut -d' ' -f2)" = "$UV_VERSION" ]; then return; fi
    check_python
    echo "setup: uv $UV_VERSION into .tools"
    "$PYTHON" -m venv --clear .tools
    .tools/bin/python -m pip install -q --disable-pip-version-check "uv==$UV_VERSION" ||
        die "uv could not be installed: is a package index reachable? (python3 -m pip install uv==$UV_VERSION)"
}

# What the environment is made from; a change in any of it makes a new one.
fingerprint() {
    { cat requirements.lock tools/setup.sh; for p in $PROJECTS; do cat "$p/pyproject.toml"; done; pwd; } | cksum
}

# Which interpreter a command is, whatever links, shims and environments lead to it.
identity() { "$1" -ISc 'import os, sys; print(os.path.realpath(sys.base_prefix), sys.version)' 2>/dev/null; }

# Whether .venv was made from the interpreter that was asked for; any will do when none was.
fits() {
    [ -z "$ASKED_FOR" ] || { wanted=$(identity "$PYTHON") && [ "$(identity .venv/bin/python)" = "$wanted" ]; }
}

install() {
    stamp=.venv/.installed
    if [ -x .venv/bin/python ] && [ "$(cat $stamp 2>/dev/null)" = "$(fingerprint)" ] && fits; then return; fi
    check_python
    echo "setup: the locked packages into .venv"
    export UV_PYTHON_DOWNLOADS=never VIRTUAL_ENV="$PWD/.venv"
    { fits && .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; } ||
        .tools/bin/uv venv -q --clear --python "$(command -v "$PYTHON")" .venv
    .tools/bin/uv pip sync -q --require-hashes requirements.lock
    editables=
    for p in $PROJECTS; do editables="$editables -e ./$p"; done
    # shellcheck disable=SC2086
    .tools/bin/uv pip install -q --no-deps $editables
    fingerprint >$stamp
}

case "${1:-install}" in
    env) make_tools ;;
    install) make_tools; install ;;
    *) die "usage: tools/setup.sh [env|install]" ;;
esac
