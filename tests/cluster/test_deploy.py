"""The files for clusters: they parse, fit their schemas, keep the token on and the dashboards off the network."""

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "cluster/deploy"


def read(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / name).read_text()))


def test_kuberay_job() -> None:
    job = read("kuberay-rayjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    pinned = re.search(r"^ray==(.+)$", (ROOT / "requirements.lock").read_text(), re.M)
    assert pinned and cluster["rayVersion"] == pinned[1]
    groups = {group["groupName"]: group for group in cluster["workerGroupSpecs"]}
    for group in [cluster["headGroupSpec"], *groups.values()]:
        (container,) = group["template"]["spec"]["containers"]
        assert container["envFrom"] == [{"secretRef": {"name": "sciml-s3"}}]
        assert container["resources"]["limits"] == container["resources"]["requests"]
        assert not any("KEY" in variable["name"] for variable in container["env"])
    (worker,) = groups["gpu"]["template"]["spec"]["containers"]
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == "1"
    for group in groups.values():
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    assert "--run-dir s3://" in job["spec"]["entrypoint"]
    assert yaml.safe_load(job["spec"]["runtimeEnvYAML"])["working_dir"].startswith("/")


def test_cloud_cluster() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(read("cloud-cluster.yaml")))  # Ray's own schema
    cluster = read("cloud-cluster.yaml")
    assert cluster["head_node_type"] in cluster["available_node_types"]
    assert cluster["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    for commands in (cluster["head_start_ray_commands"], cluster["worker_start_ray_commands"]):
        assert "RAY_AUTH_MODE=token" in commands[-1]
    assert "--dashboard-host=127.0.0.1" in cluster["head_start_ray_commands"][-1]
    types = cluster["available_node_types"]
    assert types["gpu"]["resources"]["GPU"] == 1 and types["head"]["resources"]["CPU"] == 0
    assert (ROOT / cluster["file_mounts"]["~/sciml/requirements.lock"]).exists()


@pytest.mark.parametrize("name", ["slurm.sh", "kuberay-rayjob.yaml", "cloud-cluster.yaml"])
def test_each_says_how_to_reach_both_dashboards(name: str) -> None:
    text = (DEPLOY / name).read_text()
    assert "8265" in text and "8787" in text and "Dask dashboard" in text
    assert "0.0.0.0" not in text


def test_slurm_directives() -> None:
    script = DEPLOY / "slurm.sh"
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    directives = dict(
        line.removeprefix("#SBATCH --").split("=", 1)
        for line in script.read_text().splitlines()
        if line.startswith("#SBATCH")
    )
    assert {"job-name", "nodes", "ntasks-per-node", "cpus-per-task", "mem", "time", "output"} <= directives.keys()
    assert directives["ntasks-per-node"] == "1"  # one `ray start` a node
    assert not re.search(r"^\s*ray stop", script.read_text(), re.M)


def test_slurm_script_runs_a_job_on_a_stand_in_for_slurm(tmp_path: Path) -> None:
    """srun runs its command here; the cluster comes up with its token, the job runs, the token goes away."""
    for name, body in {
        "srun": 'while [[ "$1" == --* ]]; do shift; done\nexec "$@"\n',
        "scontrol": "echo 127.0.0.1\n",
    }.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{body}")
        (tmp_path / name).chmod(0o755)
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    (work / "job.py").write_text(
        "import os, ray\n"
        "ray.init()\n"
        "print('mode', os.environ['RAY_AUTH_MODE'], 'CPUs', ray.cluster_resources()['CPU'])\n"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "AWS_"))} | {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "SCIML_VENV": str(Path(sys.executable).parents[1]),
        "SLURM_SUBMIT_DIR": str(work),
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NODELIST": "here",
        "SLURM_CPUS_PER_TASK": "2",
    }
    command = [shutil.which("bash") or "bash", str(DEPLOY / "slurm.sh")]
    script = [*command, "python", "job.py"]
    done = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mode token CPUs 2.0" in done.stdout
    assert not list(home.glob(".sciml-ray-*"))
    assert subprocess.run(command, env=environment, capture_output=True, timeout=60).returncode == 2
    assert not stat.S_IMODE((DEPLOY / "slurm.sh").stat().st_mode) & 0o022
