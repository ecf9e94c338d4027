#!/usr/bin/env bash
#SBATCH --job-name=sciml
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=32G
#SBATCH --time=04:00:00
#SBATCH --output=sciml-%j.log
##SBATCH --gpus-per-node=1
#
# A Ray cluster on the nodes of one Slurm job, and one job of ours on it:
#
#   sbatch cluster/deploy/slurm.sh python pipelines/grace_downscale.py --run-dir /scratch/$USER/grace --preset global
#
# Run it from the repository. The run directory must be absolute and on a file system that all nodes share, or s3://.
# SCIML_VENV names the virtual environment (default: .venv of the repository), on a shared file system too.
#
# Both dashboards listen on the head node's localhost alone. From your own machine, with NODE from `squeue`, PORT from
# the line "Ray dashboard" and DASK from the line "Dask dashboard" of sciml-JOB.log:
#
#   ssh -J LOGIN_NODE -L 8265:127.0.0.1:PORT -L 8787:127.0.0.1:DASK NODE
#
# then http://localhost:8265 (it asks for the token, in ~/.sciml-ray-JOB) and http://localhost:8787/status.
set -euo pipefail

if [ $# -eq 0 ]; then
    echo "usage: sbatch cluster/deploy/slurm.sh python pipelines/NAME.py --run-dir /absolute/path ..." >&2
    exit 2
fi
cd "${SLURM_SUBMIT_DIR:?start it with sbatch}"
export PATH="${SCIML_VENV:-$PWD/.venv}/bin:$PATH"
export OMP_NUM_THREADS=1 RAY_USAGE_STATS_ENABLED=0

# One secret for this job alone, readable by its owner alone. Without it, any user of the nodes could run code as you.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$HOME/.sciml-ray-$SLURM_JOB_ID"
(umask 077; od -An -N32 -tx1 /dev/urandom | tr -d ' \n' > "$RAY_AUTH_TOKEN_PATH")

# Ports from the job's number, so that two jobs on one node do not meet.
base=$((20000 + SLURM_JOB_ID % 2000 * 10))
nodes=($(scontrol show hostnames "$SLURM_JOB_NODELIST"))
head=${nodes[0]}
address="$head:$base"
dashboard="http://127.0.0.1:$((base + 1))"
pids=()

finish() {
    # by their numbers: `ray stop` would also end the clusters of other jobs on these nodes
    [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
    wait || true
    rm -f "$RAY_AUTH_TOKEN_PATH"
}
trap finish EXIT

resources=(--num-cpus="${SLURM_CPUS_PER_TASK:-1}" --num-gpus="${SLURM_GPUS_ON_NODE:-0}")
srun --nodes=1 --ntasks=1 --nodelist="$head" \
    ray start --head --block --port="$base" --dashboard-host=127.0.0.1 --dashboard-port=$((base + 1)) \
    --ray-client-server-port=$((base + 2)) --dashboard-agent-listen-port=$((base + 3)) "${resources[@]}" &
pids+=($!)
for node in "${nodes[@]:1}"; do
    srun --nodes=1 --ntasks=1 --nodelist="$node" \
        ray start --block --address="$address" --dashboard-agent-listen-port=$((base + 3)) "${resources[@]}" &
    pids+=($!)
done

# The batch script runs on the head node. Wait for every node: a job that starts early plans for too few workers.
until [ "$(ray list nodes --address="$dashboard" --filter state=ALIVE --format=json 2>/dev/null |
    grep -c '"node_id"')" -ge "${#nodes[@]}" ]; do
    [ "$SECONDS" -lt 600 ] || { echo "slurm.sh: ${#nodes[@]} nodes asked, not all joined in 10 minutes" >&2; exit 1; }
    sleep 2
done

echo "Ray dashboard: $dashboard on $head"
ray job submit --address="$dashboard" --working-dir=. -- "$@"
