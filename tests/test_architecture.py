"""Who may import whom: import-linter's contracts, and what it cannot name."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {"sciml": ("dask.distributed", "distributed", "ray", "pickle"), "tune_spaces": ("ray", "torch", "sciml")}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("room", FORBIDDEN)
def test_the_science_knows_no_engine(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        for name in imports(path):
            for engine in FORBIDDEN[room]:
                assert not f"{name}.".startswith(f"{engine}."), f"{path.relative_to(ROOT)} imports {name}"


def test_the_test_would_see_it(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import dask.distributed\nfrom dask import distributed\nfrom ray import train\n")
    assert {"dask.distributed", "ray.train"} <= imports(tmp_path / "a.py")


def test_contracts_between_the_rooms_hold() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout
