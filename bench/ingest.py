"""What ingest costs: the stage's read, decode and write of a granule, against a plain pyhdf read of the same fields.

    python bench/ingest.py [--granules 'DIR/MOD11A1*.hdf'] [--rounds 30]

Both take their turns on the same files in one process, and the fastest round of each counts: other work on the machine
lengthens single rounds. The stage writes with two threads. Where other work never ceases, and where each core has its
worker, the second one gains nothing, and the ratio by processor time, over all threads, is the fairer one. Both profit
from the stage's setting of the allocator, which the first granule makes. Without --granules, two of 1200 x 1200 pixels
are generated: a clear one, whose counts compress badly, and one mostly cloud.
"""

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pyhdf.SD import SD, SDC

from sciml.data.readers import hdf_eos, mod11a1
from sciml.data.sinusoidal import PIXELS_1KM, TILE_M, Tile
from sciml.data.stores import create_store, write_region
from sciml.modis import ingest

TARGET = 0.6
READ = (*[field for name in ingest.READ if name != "qc" for field in mod11a1.FIELDS[name].fields], *mod11a1.QC_FIELDS)


def generate(folder: Path, day: int, cloud_cover: float) -> Path:
    """A granule with the product's fields and compression: a smooth field of temperature with noise, and clouds."""
    rng, side, tile = np.random.default_rng(day), PIXELS_1KM, Tile(18, 4)
    path = folder / f"MOD11A1.A2020{day:03d}.{tile}.061.2021003092415.hdf"
    wave = np.sin(np.arange(side) / 60)[:, None] + np.cos(np.arange(side) / 45)
    clouds = np.sin(np.arange(side)[:, None] / 37 + wave) + wave
    cloudy = clouds < np.quantile(clouds, cloud_cover)
    sd = SD(str(path), SDC.WRITE | SDC.CREATE | SDC.TRUNC)
    for name, packed in mod11a1.FIELDS.items():
        for field in packed.fields:
            if name == "lst":
                values = 14900 + 150 * wave + rng.normal(0, 15, (side, side))
            elif name.startswith("emissivity"):  # by land cover, in patches of 2 km
                values = rng.integers(238, 246, (side // 2, side // 2)).repeat(2, 0).repeat(2, 1)
            else:  # an overpass changes slowly across its swath
                values = np.broadcast_to(100 + np.arange(side) * 20 // side, (side, side))
            _write(sd, field, np.where(cloudy, packed.fill, values).astype(packed.dtype))
    for field in mod11a1.QC_FIELDS:
        quality = rng.choice(np.array([0, 0, 0, 17, 65, 81]), (side // 4, side // 4)).repeat(4, 0).repeat(4, 1)
        _write(sd, field, np.where(cloudy, 2, quality).astype(np.uint8))
    sd.attr("StructMetadata.0").set(
        SDC.CHAR,
        f'GridName="MODIS_Grid_Daily_1km_LST"\nXDim={side}\nYDim={side}\n'
        f"UpperLeftPointMtrs=({tile.west:.6f},{tile.north:.6f})\n"
        f"LowerRightMtrs=({tile.west + TILE_M:.6f},{tile.north - TILE_M:.6f})\n"
        "Projection=GCTP_SNSOID\nProjParams=(6371007.181000,0,0)\n",
    )
    sd.end()
    return path


def _write(sd: SD, field: str, values: np.ndarray) -> None:
    made = sd.create(field, {1: SDC.UINT8, 2: SDC.UINT16}[values.itemsize], values.shape)
    made.setcompress(SDC.COMP_DEFLATE, 8)
    made[:] = values
    made.endaccess()


def plain(file: str) -> int:
    """Read the fields with pyhdf alone, all of them held in memory: bytes."""
    sd = SD(file, SDC.READ)
    found = {field: sd.select(field).get() for field in READ}
    sd.end()
    return sum(values.nbytes for values in found.values())


def fastest(rounds: int, *functions: Callable[[], object]) -> np.ndarray:
    """Seconds of each function's fastest round, (wall or processor, function); the functions take turns."""
    best = np.full((2, len(functions)), np.inf)
    for _ in range(rounds):
        for place, function in enumerate(functions):
            began = np.array([time.perf_counter(), time.process_time()])
            function()
            best[:, place] = np.minimum(best[:, place], [time.perf_counter(), time.process_time()] - began)
    return best


def measure(header: hdf_eos.Header, store: str, rounds: int) -> float:
    """Ratio of ingest's rate to that of a plain read, by wall time."""
    year = ingest.find(header.file)[0][0]
    template, function, item = ingest.template(year), ingest.ingest(year), ingest.items(year)[0]
    address = dataclasses.asdict(item)
    create_store(store, template)

    def stage() -> None:
        arrays = function(item)
        template.validate(address, arrays)
        write_region(store, template, address, arrays)

    size = plain(header.file)
    stage()
    (read_s, work_s, stage_s), busy_s = fastest(rounds, lambda: plain(header.file), lambda: function(item), stage)
    print(
        f"{Path(header.file).name}: {size / 1e6:.1f} MB; pyhdf {size / 1e6 / read_s:.0f} MB/s, ingest"
        f" {size / 1e6 / stage_s:.0f} MB/s, ratio {read_s / stage_s:.0%} (without writing {read_s / work_s:.0%});"
        f" by processor time {busy_s[0] / busy_s[2]:.0%} (without writing {busy_s[0] / busy_s[1]:.0%})",
        flush=True,
    )
    return read_s / stage_s


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--granules", default="", help="files to read instead of generated ones")
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = options.granules or f"{folder}/MOD11A1*.hdf"
        if not options.granules:
            for day, cloud_cover in ((1, 0.1), (2, 0.8)):
                generate(Path(folder), day, cloud_cover)
        headers, _ = hdf_eos.granules(files, mod11a1.PRODUCTS)
        ratios = [measure(header, f"{folder}/store{i}", options.rounds) for i, header in enumerate(headers)]
    verdict = "within" if min(ratios) >= TARGET else "BELOW"
    print(f"ingest reaches {min(ratios):.0%} of a plain read's rate at least, {verdict} the {TARGET:.0%} wanted")
    return 0


if __name__ == "__main__":
    sys.exit(main())
