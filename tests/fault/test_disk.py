"""A full disk, a refused write, a bucket that is not there: one clear line, non-zero exit, nothing half-written."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.fault import job
from tests.fault.tools import finish, start

ISOLATED = ("unshare", "--map-root-user", "--mount")


def can_mount() -> bool:
    try:
        script = "mount -t tmpfs none /mnt"
        return subprocess.run([*ISOLATED, "sh", "-c", script], capture_output=True, timeout=20).returncode == 0
    except OSError:
        return False


@pytest.mark.skipif(not can_mount(), reason="a disk of its own needs unshare and user namespaces")
def test_a_disk_that_runs_full(tmp_path: Path) -> None:
    code, out, err = finish(start(tmp_path, module="tests.fault.full_disk", prefix=ISOLATED))
    assert code == 0, err
    found = json.loads(out.splitlines()[-1])
    code, _, err = found["full"]
    assert code == 2
    assert "No space left on device" in err and "run the same command again" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert 0 < found["done_when_full"] < 12
    code, out, _ = found["verify_when_full"]
    assert code == 1 and out.count("not finished") == 12 - found["done_when_full"]
    assert len(out.splitlines()) == 12 - found["done_when_full"] + 1  # holes only, nothing damaged
    assert found["litter"] == []
    assert found["room"][0] == 0 and found["verify"][0] == 0 and found["same"]


def refusal(run_dir: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert job.main(["--run-dir", run_dir, "--calls", str(tmp_path / "calls"), "--executor", "serial"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_a_run_directory_that_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert "file/run" in refusal(str(tmp_path / "file/run"), tmp_path, capsys)
    assert "/proc/run" in refusal("/proc/run", tmp_path, capsys)
    assert not (tmp_path / "calls").exists()


def test_a_bucket_that_is_not_there(s3: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "s3://no-such-bucket/run" in refusal("s3://no-such-bucket/run", tmp_path, capsys)


def test_an_endpoint_that_does_not_answer(
    s3: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        assert "s3://bucket/elsewhere" in refusal("s3://bucket/elsewhere", tmp_path, capsys)
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
