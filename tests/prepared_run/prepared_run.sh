#!/usr/bin/env bash
# The prepared run on a machine without network that has the packed folder .gpu: prepared_run.sh OUTPUT [OPTIONS].
set -euo pipefail
cd "$(dirname "$0")/../.."
output=${1:?the folder for the results is missing}
shift
dataset=$(echo .gpu/Dataset*)
# go.py unpacks to the folder of temporary files: one for each pack, and again where it was stopped half-way.
TMPDIR=${TMPDIR:-/tmp}/prepared_run_$(cksum < .gpu/site.tar.xz | cut -d ' ' -f 1)
export TMPDIR
if [ ! -e "$TMPDIR/unpacked" ]; then
    rm -rf "$TMPDIR/site"
    mkdir -p "$TMPDIR"
    python3 .gpu/go.py true
    touch "$TMPDIR/unpacked"
fi
exec python3 .gpu/go.py python3 tests/prepared_run/prepared_run.py "$dataset" "$output" "$@"
