#!/usr/bin/env bash
# The prepared run on a machine without network that has the packed folder .gpu: prepared_run.sh OUTPUT [OPTIONS].
set -euo pipefail
began=$(date +%s) # unpacking and the first imports of a fresh machine count too
cd "$(dirname "$0")/../.."
output=${1:?the folder for the results is missing}
shift
dataset=$(echo .gpu/Dataset*)
exec python3 tests/prepared_run/packed.py python3 tests/prepared_run/prepared_run.py "$dataset" "$output" \
    --began "$began" "$@"
