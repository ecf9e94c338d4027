"""Rivers of the generated Earth: the drainage of model A on one grid."""

import numpy as np

from sciml.generated import rivers, truth
from sciml.generated.rivers import RiverConfig
from sciml.rivers.network import OUTLET, find_cells

SMALL = RiverConfig(cells=3, tiles=(0, 5), first="1990-01", stop="1990-03")


def test_network_and_record_have_the_same_cells_and_model_as_drainage() -> None:
    network, record = rivers.network(SMALL), rivers.made(SMALL)[0]
    at = find_cells(network, record.forcing.lat, record.forcing.lon)
    assert sorted(at) == list(range(len(network)))
    np.testing.assert_allclose(network.area[at], 1e6 * record.forcing.area_km2)
    first = 0
    for tile in rivers._tiles(SMALL):
        down = truth.drainage(tile.grid.shape, tile.grid.land, tile.land.elevation)
        own = at[first : first + len(down)]
        expected = np.where(down < len(down), own[np.minimum(down, len(down) - 1)], OUTLET)
        np.testing.assert_array_equal(network.downstream[own], expected)
        first += len(down)
    assert "runoff" in record.targets.values and "groundwater" not in record.targets.values
