"""A cluster of three nodes on this machine; the node whose workers are busy is killed in mid-stage."""

import sys
import threading
from pathlib import Path

import numpy as np
import ray
from ray.cluster_utils import Cluster

from cluster.executors import RayExecutor
from cluster.run import open_run
from cluster.stages import run_stage
from tests.cluster.toy import Block, Squares, config, stage
from tests.fault.tools import finished_items, wait_for

OBJECT_STORE = 80 * 2**20


class SquaresSomewhere(Squares):
    """Notes on which node it runs."""

    def __call__(self, item: Block) -> dict[str, np.ndarray]:
        nodes = Path(self.directory) / "nodes"
        nodes.mkdir(exist_ok=True)
        (nodes / ray.get_runtime_context().get_node_id()).touch()
        return super().__call__(item)


def main(folder: Path) -> int:
    # the usual health checks take 18 s to miss a node
    quick = {
        "health_check_initial_delay_ms": 0,
        "health_check_period_ms": 500,
        "health_check_timeout_ms": 500,
        "health_check_failure_threshold": 3,
    }
    head = {
        "num_cpus": 0,
        "include_dashboard": False,
        "object_store_memory": OBJECT_STORE,
        "_system_config": quick,
    }
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = {node.node_id: node for node in (add_node(cluster) for _ in range(2))}
    ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
    cluster.wait_for_nodes()

    def lose_a_node() -> None:
        wait_for(lambda: finished_items(folder / "run") >= 4)
        busy = next((folder / "nodes").iterdir()).name
        cluster.remove_node(nodes[busy], allow_graceful=False)
        (folder / "lost").touch()

    killer = threading.Thread(target=lose_a_node)
    killer.start()
    function = SquaresSomewhere(str(folder), seconds=0.3)
    with open_run(config(folder / "run")) as run:
        run_stage(stage(folder, count=40, function=function), run, RayExecutor(2))
    killer.join()
    ray.shutdown()
    cluster.shutdown()
    return 0 if (folder / "lost").exists() and len(list((folder / "nodes").iterdir())) == 2 else 1


def add_node(cluster: Cluster):  # type: ignore[no-untyped-def]
    return cluster.add_node(num_cpus=2, object_store_memory=OBJECT_STORE)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
