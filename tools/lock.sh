#!/bin/sh
# Renew the lock files, or with --check say which are stale. Versions that still fit are kept;
# --upgrade takes the newest. The projects' locks have the versions of the first one, which holds all.
set -eu
cd "$(dirname "$0")/.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
stale=0

lock() { # lock FILE ARGUMENTS...: compile into FILE
    file=$1; shift
    [ "${MODE:-}" = --upgrade ] || [ ! -e "$file" ] || cp "$file" "$out/lock"
    .tools/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
        --no-emit-package trade-telemetry --custom-compile-command "make lock" \
        -o "$out/lock" "$@" >/dev/null
    sed '/^    #   -c requirements.lock$/d' "$out/lock" >"$out/tidy" && mv "$out/tidy" "$out/lock"
    # An excluded package leaves a comment with no version; it says nothing that pyproject.toml does not.
    if [ "${MODE:-}" = --check ]; then
        cmp -s "$out/lock" "$file" || { echo "$file is stale: run make lock" >&2; stale=1; }
    else
        mv "$out/lock" "$file"
    fi
    rm -f "$out/lock"
}

MODE=${1:-}
lock requirements.lock --group dev --group trading-app/pyproject.toml:benchmark \
    --group market-engine/pyproject.toml:test \
    trade-telemetry/pyproject.toml metrics-sidecar/pyproject.toml trading-app/pyproject.toml \
    market-engine/pyproject.toml
for project in trade-telemetry metrics-sidecar trading-app market-engine; do
    lock "$project/requirements.lock" "$project/pyproject.toml" --constraint requirements.lock
done
exit $stale
