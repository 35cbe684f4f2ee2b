#!/bin/sh
# Install each project in an environment of its own, as somebody who wants only that one would, and
# run its tests there, a file at a time on each of two workers.
set -eu
cd "$(dirname "$0")/.."
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
export UV_PYTHON_DOWNLOADS=never
uv=$PWD/.tools/bin/uv

for project in trade-telemetry metrics-sidecar trading-app market-engine; do
    echo "== $project on its own"
    "$uv" venv -q --python "${PYTHON:-python3}" "$place/$project"
    export VIRTUAL_ENV="$place/$project"
    library=
    ! grep -q '"trade-telemetry",' "$project/pyproject.toml" || library="-e ./trade-telemetry"
    "$uv" pip sync -q --require-hashes "$project/requirements.lock"
    # shellcheck disable=SC2086
    "$uv" pip install -q --no-deps $library -e "./$project"
    (cd "$project" && "$uv" pip install -q --group test pytest-xdist --constraint ../requirements.lock)
    (cd "$project" && "$VIRTUAL_ENV/bin/python" -m pytest -q -p no:cacheprovider \
        -n 2 --dist loadfile --no-loadscope-reorder)
done
