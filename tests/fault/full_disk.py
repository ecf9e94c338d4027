"""A job on a disk of 140 kB that runs full in mid-stage; then room is made and the same command given again.

Run under `unshare --map-root-user --mount`: the disk is a mount of this process alone. Prints what happened as JSON.
"""

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path

from cluster.cli import main as sciml
from tests.fault import job
from tests.fault.tools import finished_items, objects


def attempt(function, *words: object) -> tuple[int, str, str]:  # type: ignore[no-untyped-def]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = function([*map(str, words)])
    return code, out.getvalue(), err.getvalue()


def main(folder: Path) -> int:
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=140k", "none", str(disk)], check=True)
    ballast, run = disk / "ballast", disk / "run"
    ballast.write_bytes(bytes(60_000))
    words = ("--run-dir", run, "--calls", folder / "calls", "--executor", "serial")
    found: dict[str, object] = {"full": attempt(job.main, *words), "done_when_full": finished_items(run)}
    found["verify_when_full"] = attempt(sciml, "verify", run)
    found["litter"] = [str(path) for path in run.rglob("*") if path.name.startswith(".") or path.suffix == ".partial"]
    ballast.unlink()
    found |= {"room": attempt(job.main, *words), "verify": attempt(sciml, "verify", run)}
    whole = folder / "whole"
    attempt(job.main, "--run-dir", whole, "--calls", folder / "c", "--executor", "serial")
    found["same"] = objects(run) == objects(whole)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
