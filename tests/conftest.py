"""Fixtures of all tests: real data by folder, one Ray for the session, an S3 server over HTTP."""

import os
from collections.abc import Iterator
from pathlib import Path

# before any import of ray or torch: they read these once
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # tests alone; clusters keep token authentication
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

REAL_DATA = Path(os.environ.get("SCIML_REAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
_real_tests = 0


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real files; tests that need it skip by name where it is absent."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"real data: no folder {REAL_DATA.name}; set SCIML_REAL_DATA")
    return REAL_DATA


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    global _real_tests
    if report.when == "call" and "real_data" in report.keywords:
        _real_tests += 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "real_data" in getattr(item, "fixturenames", ()):
            item.keywords["real_data"] = True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"real-file tests that ran: {_real_tests}")


@pytest.fixture(scope="session")
def ray_local(s3_server: str) -> Iterator[None]:
    """A real Ray with four logical CPUs; the S3 server is up first, so workers inherit its address."""
    import ray

    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        object_store_memory=128 * 2**20,
        logging_level="ERROR",
        log_to_driver=False,
        runtime_env={"env_vars": {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}},
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """An S3 server over HTTP with one bucket, named by the usual environment variables."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ.update(
        AWS_ACCESS_KEY_ID="testing",
        AWS_SECRET_ACCESS_KEY="testing",
        AWS_DEFAULT_REGION="us-east-1",
        AWS_ENDPOINT_URL=f"http://{host}:{port}",
        AWS_EC2_METADATA_DISABLED="true",
    )
    import s3fs

    s3fs.S3FileSystem().mkdir("bucket")
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server: str, request: pytest.FixtureRequest) -> str:
    """A URL of its own for each test, on the S3 server."""
    return f"s3://bucket/{request.node.name.replace('[', '-').replace(']', '')}"
