"""`sciml verify RUN` and `sciml runs [ROOT]`."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from cluster.ledger import read_json
from cluster.run import live_driver, pipeline_of
from cluster.verify import progress_of, verify_run
from sciml.core.errors import ScimlError
from sciml.core.urls import exists, filesystem, is_remote, join

USAGE = """usage: sciml verify RUN     decode every object of a run's stores and checkpoints; exit 1 on any hole, named
       sciml runs [ROOT]    list the runs below a folder or URL [runs]"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; 0 all well, 1 something found, 2 not understood."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        match words:
            case ["verify", run]:
                return _verify(run)
            case ["runs"]:
                return _runs("runs")
            case ["runs", root]:
                return _runs(root)
            case ["-h" | "--help"]:
                print(USAGE)
                return 0
    except ScimlError as error:
        print(f"sciml: {error}", file=sys.stderr)
        return 2
    print(USAGE, file=sys.stderr)
    return 2


def _verify(run: str) -> int:
    decoded, findings = verify_run(run)
    for finding in findings:
        print(finding)
    if findings:
        print(f"{len(findings)} findings in {decoded} objects; run the job again with the same options to repair them")
        return 1
    print(f"{decoded} objects decoded, none missing, none damaged")
    return 0


def _runs(root: str) -> int:
    fs, path = filesystem(root)
    if not exists(root):
        print(f"no runs: {root} does not exist")
        return 0
    prefix = root.split("://")[0] + "://" if is_remote(root) else ""
    folders = [path, *(info["name"] for info in fs.ls(path, detail=True) if info["type"] == "directory")]
    rows = [_row(prefix + folder) for folder in folders if pipeline_of(prefix + folder)]
    print(f"{'run':<40} {'pipeline':<18} {'state':<12} {'items':>11}  {'finished'}")
    for row in rows:
        print(row)
    return 0


def _row(url: str) -> str:
    try:
        return _state(url)
    except ScimlError as error:  # the other runs are still worth a line
        return f"{url:<40} {pipeline_of(url) or '':<18} damaged: {error}"


def _state(url: str) -> str:
    stages = progress_of(url)
    done, total = (sum(part) for part in zip(*stages.values(), strict=True)) if stages else (0, 0)
    metrics = join(url, "metrics.json")
    finished = ""
    if exists(metrics):
        stamp = read_json(metrics).get("created", "")
        finished = datetime.fromisoformat(stamp).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC") if stamp else ""
    state = "running" if live_driver(url) else "complete" if finished and done == total else "incomplete"
    return f"{url:<40} {pipeline_of(url) or '':<18} {state:<12} {f'{done}/{total}':>11}  {finished}"


if __name__ == "__main__":
    sys.exit(main())
