#!/usr/bin/env bash
# Test with several processes (the environment variables: see torchrun.sh).
set -euo pipefail
if [ $# -lt 3 ]; then
    echo "usage: $0 CONFIG CHECKPOINT NUM_PROCESSES [arguments of test.py]" >&2
    exit 2
fi
source "$(dirname "$0")/torchrun.sh"
run_processes "$3" test.py "$1" "$2" "${@:4}"
