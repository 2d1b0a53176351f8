#!/bin/bash
# A Slurm job: one worker a node, each with all GPUs of its node.
# sbatch docs/cluster/slurm.sh
#SBATCH --job-name=keras_mt
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@120

# SIGTERM, two minutes before the time is up: all workers finish the step, save, and end; the requeued job continues.
RUN_DIR="${RUN_DIR:-$HOME/runs/cifar10_4000_resnet}"
PORT=$((20000 + SLURM_JOB_ID % 20000))
WORKERS=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed "s/.*/\"&:$PORT\"/" | paste -sd,)
export RUN_DIR WORKERS

srun --kill-on-bad-exit=1 bash -c '
    export TF_CONFIG="{\"cluster\": {\"worker\": [$WORKERS]}, \"task\": {\"type\": \"worker\", \"index\": $SLURM_PROCID}}"
    exec python -m keras_mt.train --flagfile=flags/cifar10_4000_resnet.cfg --run_dir="$RUN_DIR" --worker_timeout=900
'
