"""Whole-store steps on Dask: written once, rebuilt when unfinished, the same chunked as whole, here and on Ray."""

import logging
import os
import socket
import urllib.request
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import ray
import xarray as xr

from cluster.cli import main as sciml
from cluster.dask_session import Dask, whole_store_step
from cluster.run import open_run
from cluster.stages import StoreRef
from sciml.data.stores import open_store
from tests.cluster.toy import config

VALUES = np.random.default_rng(0).normal(10, 3, (48, 6, 9))


def monthly(chunks: dict[str, int]) -> xr.Dataset:
    data = xr.DataArray(VALUES, dims=("time", "lat", "lon"), attrs={"units": "mm"}).chunk(chunks)
    month = xr.DataArray(np.arange(48) % 12, dims="time", name="month")
    return xr.Dataset({"climatology": data.assign_coords(month=month).groupby("month").mean()})


EXPECTED = VALUES.reshape(4, 12, 6, 9).mean(axis=0)


def climatology(url: object, built: list[int], chunks: dict[str, int] | None = None, power: int = 1) -> StoreRef:
    def build() -> xr.Dataset:
        built.append(1)
        return monthly(chunks or {"time": 48, "lat": 3, "lon": 9}).chunk({"month": 12, "lat": 3, "lon": 9})

    with open_run(config(url)) as run, Dask(run.config) as dask:
        return whole_store_step(run, dask, "climatology", 1, build, config={"power": power}, inputs={})


def test_a_step_is_written_once_and_equals_numpy(tmp_path: Path) -> None:
    built: list[int] = []
    ref = climatology(tmp_path / "run", built)
    again = climatology(tmp_path / "run", built)
    assert ref == again and built == [1]
    np.testing.assert_allclose(open_store(ref.url)["climatology"], EXPECTED, rtol=1e-12)
    assert sciml(["verify", str(tmp_path / "run")]) == 0
    assert climatology(tmp_path / "run", built, power=2) != ref and built == [1, 1]


def test_chunked_equals_whole(tmp_path: Path) -> None:
    for name, chunks in {"a": {"time": 5, "lat": 2, "lon": 4}, "b": {"time": -1, "lat": -1, "lon": -1}}.items():
        ref = climatology(tmp_path / name, [], chunks)
        np.testing.assert_allclose(open_store(ref.url)["climatology"], EXPECTED, rtol=1e-6)


def test_an_unfinished_or_damaged_step_is_rebuilt(tmp_path: Path) -> None:
    built: list[int] = []
    ref = climatology(tmp_path / "run", built)
    shard = Path(ref.url) / "climatology/c/0/1/0"
    shard.write_bytes(shard.read_bytes()[:-1])
    climatology(tmp_path / "run", built)
    assert built == [1, 1]
    for entry in (tmp_path / "run/ledger").glob("*/items/*.json"):
        entry.unlink()
    climatology(tmp_path / "run", built)
    assert built == [1, 1, 1]
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(bytes(data))
    assert sciml(["verify", str(tmp_path / "run")]) == 1
    ref = climatology(tmp_path / "run", built)
    np.testing.assert_allclose(open_store(ref.url)["climatology"], EXPECTED, rtol=1e-12)


def test_a_step_lives_on_s3(s3: str) -> None:
    built: list[int] = []
    ref = climatology(s3, built)
    climatology(s3, built)
    assert built == [1]
    np.testing.assert_allclose(open_store(ref.url)["climatology"], EXPECTED, rtol=1e-12)
    assert sciml(["verify", s3]) == 0


def test_the_dashboard_answers_to_the_end_of_the_job(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Dask(config(tmp_path)) as dask:
        assert capsys.readouterr().out == ""
        for _ in range(2):
            with dask.workers() as client:
                assert da.ones(10, chunks=5).sum().compute() == 10
                assert len(client.scheduler_info()["workers"]) == 1
        (line,) = capsys.readouterr().out.splitlines()
        link = line.removeprefix("Dask dashboard: ")
        assert link.startswith("http://127.0.0.1:")
        assert urllib.request.urlopen(link, timeout=20).status == 200
    with pytest.raises(OSError):
        urllib.request.urlopen(link, timeout=5)


def test_dask_says_nothing_but_errors(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Dask(config(tmp_path)) as dask, dask.workers():
        logging.getLogger("distributed.worker").error("the disk is full")
    assert [record.getMessage() for record in caplog.records if record.name.startswith("distributed")] == [
        "the disk is full"
    ]


def test_on_a_cluster_the_workers_live_in_ray_actors(
    tmp_path: Path, ray_local: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "auto")  # as the job manager sets it
    free = ray.available_resources().get("CPU", 0)
    there = config(tmp_path, workers=2).model_copy(update={"executor": "ray"})
    with Dask(there) as dask, dask.workers() as client:
        pids = client.run(os.getpid)
        assert len(set(pids.values())) == 2 and os.getpid() not in pids.values()
        total = da.from_array(VALUES, chunks=(12, 6, 9)).sum().compute()
        np.testing.assert_allclose(total, VALUES.sum(), rtol=1e-12)
        assert urllib.request.urlopen(client.dashboard_link, timeout=20).status == 200
        address = client.scheduler.address
        assert address.startswith("tls://")
        assert ray.available_resources().get("CPU", 0) <= free - 2
    host, port = address.removeprefix("tls://").rsplit(":", 1)
    with pytest.raises(OSError):
        socket.create_connection((host, int(port)), timeout=5)
