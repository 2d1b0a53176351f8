"""The job descriptions of docs/cluster are valid, and the `TF_CONFIG` that they build is one that the program takes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from keras_mt.experiments.running import cluster

ROOT = Path(__file__).resolve().parents[2]
SLURM, KUBERNETES = ROOT / "docs" / "cluster" / "slurm.sh", ROOT / "docs" / "cluster" / "kubernetes.yaml"


@pytest.fixture
def run_with_stubs(tmp_path):
    """Runs a shell script in which `python` prints its TF_CONFIG, as its last line, after its arguments."""
    stubs = {
        "python": 'echo "$@"; echo "$TF_CONFIG"',
        "srun": 'shift; exec "$@"',
        "scontrol": "printf 'node1\\nnode2\\nnode3\\nnode4\\n'",
    }
    for name, body in stubs.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)

    def run(*command, **environment):
        environment = {**os.environ, **environment, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        return output.strip().splitlines()

    return run


def test_the_slurm_job_starts_one_worker_a_node(run_with_stubs, monkeypatch):
    subprocess.run(["bash", "-n", str(SLURM)], check=True)
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node[1-4]", "SLURM_PROCID": "2"}
    *_, command, config = run_with_stubs("bash", str(SLURM), **job)
    monkeypatch.setenv("TF_CONFIG", config)
    assert cluster.read() == cluster.Cluster(tuple(f"node{i}:20007" for i in (1, 2, 3, 4)), 2)
    assert (ROOT / command.split("--flagfile=")[1].split()[0]).exists()


def test_the_kubernetes_job_starts_workers_that_the_service_names(run_with_stubs, monkeypatch):
    service, job = yaml.safe_load_all(KUBERNETES.read_text())
    assert (service["kind"], job["kind"], job["apiVersion"]) == ("Service", "Job", "batch/v1")
    pods = job["spec"]["template"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"].items() <= pods["metadata"]["labels"].items()
    assert pods["spec"]["subdomain"] == service["metadata"]["name"]
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == 4
    (container,) = pods["spec"]["containers"]
    command, config = run_with_stubs(*container["command"], *container["args"], JOB_COMPLETION_INDEX="3")
    monkeypatch.setenv("TF_CONFIG", config)
    name = job["metadata"]["name"]
    expected = tuple(f"{name}-{i}.{service['metadata']['name']}:2222" for i in range(4))
    assert cluster.read() == cluster.Cluster(expected, 3)
    assert (ROOT / command.split("--flagfile=")[1].split()[0]).exists()


def test_what_the_page_says_is_sent_was_counted():
    sys.path.insert(0, str(ROOT / "tools"))
    import scaling

    for name in ("convnet13", "wide_resnet28"):
        counted = scaling.volume(name)
        row = f"| {name} | {counted['parameters']:,} | {4 * counted['values'] / 1e6:.1f} | {counted['reductions']} |"
        assert row in (ROOT / "docs" / "devices.md").read_text()
