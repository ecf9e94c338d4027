import os
import subprocess
import sys
from pathlib import Path

TRAIN = """
import hashlib, numpy as np
from sciml.nn.ensemble import Shape, initial_parameters, train_compiled
from sciml.nn.training import TrainingConfig
rng, shape = np.random.default_rng(0), Shape(4, 8)
inputs, target = rng.standard_normal((60, 6, 4)).astype("f4"), rng.standard_normal(60).astype("f4")
rows = train_compiled(initial_parameters(shape, 1)[None], inputs, target, np.ones((1, 60), "f4"), shape,
                      TrainingConfig(epochs=40, learning_rate=3e-2))
print(hashlib.sha256(rows.tobytes()).hexdigest())
"""


def test_compiled_now_or_taken_from_the_cache_gives_the_same_bits(tmp_path: Path) -> None:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", TRAIN]
    said = [
        subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout for _ in range(2)
    ]
    assert said[0] == said[1] != ""
    assert list(tmp_path.rglob("*train*.nbc"))
