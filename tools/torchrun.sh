# Sourced by dist_train.sh and dist_test.sh: torchrun, one process a GPU, or any number of processes on the CPU.
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR, PORT. On one machine a free port is found unless PORT is set.

# run_processes NUM_PROCESSES TOOL [arguments]
run_processes() {
    local processes=$1 tool=$2
    shift 2
    local rendezvous=(--standalone)
    if [ "${NNODES:-1}" != 1 ] || [ -n "${PORT:-}" ]; then
        rendezvous=(--nnodes="${NNODES:-1}" --node-rank="${NODE_RANK:-0}"
                    --master-addr="${MASTER_ADDR:-127.0.0.1}" --master-port="${PORT:-29500}")
    fi
    local root threads
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    threads=$(($(nproc) / processes))
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((threads > 0 ? threads : 1))}
    export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
    exec "${PYTHON:-python}" -m torch.distributed.run "${rendezvous[@]}" --nproc-per-node="$processes" \
        "$root/tools/$tool" "$@" --launcher pytorch
}
