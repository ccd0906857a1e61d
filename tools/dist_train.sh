#!/usr/bin/env bash
# Train with several processes (the environment variables: see torchrun.sh).
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "usage: $0 CONFIG NUM_PROCESSES [arguments of train.py]" >&2
    exit 2
fi
source "$(dirname "$0")/torchrun.sh"
run_processes "$2" train.py "$1" "${@:3}"
