"""The channel and the floodplain of each cell, and how high water stands in them.

A cell holds one rectangular channel, width W, bank B above its bed, and a floodplain whose ground rises from the bank
in layers (Yamazaki et al. 2011, doi:10.1029/2010WR009726): at the height H_k above the bank the share k / layers of the
cell's area is under water, and between two layers that share is linear in height, so storage is quadratic.

Where no map gives them, these are assumptions, to be read as such: a flood map's extent follows from them.
- width: W = max(7.2 Q^0.5, 10 m) of the mean flow Q [m3 s-1] (Moody & Troutman 2002, doi:10.1002/esp.403).
- depth: the channel carries `bankfull` = 2 times its mean flow before it floods, B = (n 2 Q / (W S^(1/2)))^(3/5), at
  least 1 m; with W and S as here that is a power law too. `yamazaki` has the widths and depths of CaMa-Flood's first
  version: at the slopes below they carry a tenth to a third of the mean flow of middling rivers.
- slope of the bank: S = 0.055 (A / km2)^-0.5, 1e-5 <= S <= 5e-3, of the upstream area A. The form is Flint's law (Flint
  1974, doi:10.1029/WR010i005p00969); the factor was set so that a headwater cell of 3,000 km2 has 1e-3 and the mouth of
  the Amazon 2e-5. The bank of a river's last cell lies at 0 m.
- floodplain: H = 50 m f^2 over the flooded share f.
- n of Manning 0.03 s m-1/3.
"""

from dataclasses import dataclass

import numpy as np

from sciml.core.errors import ConfigError, InputError
from sciml.data.readers.river_network import place
from sciml.rivers.linear import MEANDER
from sciml.rivers.network import Network

MANNING = 0.03  # s m-1/3
LAYERS = 10
RELIEF = 50.0  # m
BANKFULL = 2.0  # times the mean flow
_KM2 = 1e6


@dataclass(frozen=True, eq=False)
class Channel:
    """Each (cell,) but the tables, which are (cell, layer + 1), their first column the bank.

    length [m] of the channel that stores water; distance [m] to the next cell; width, depth [m]; bed [m] elevation;
    slope [1] of the bed where the river ends; manning [s m-1/3]; area [m2] of the cell. height [m above the bank],
    surface [m2] of the water and volume [m3] at the edges of the layers.
    """

    length: np.ndarray
    distance: np.ndarray
    width: np.ndarray
    depth: np.ndarray
    bed: np.ndarray
    slope: np.ndarray
    manning: np.ndarray
    area: np.ndarray
    height: np.ndarray
    surface: np.ndarray
    volume: np.ndarray


def channel(
    network: Network,
    flow: np.ndarray,
    *,
    width: np.ndarray | None = None,
    depth: np.ndarray | None = None,
    slope: float | np.ndarray | None = None,
    bankfull: float = BANKFULL,
    manning: float | np.ndarray = MANNING,
    floodplain: np.ndarray | None = None,
    meander: float = MEANDER,
) -> Channel:
    """Channels from the arguments, else from the network's own maps, else from the laws above.

    flow: (cell,) [m3 s-1], which shapes the channel; slope: of the bank; floodplain: (cell, layer) [m above the
    bank] at equal shares of the cell. meander lengthens straight distances, not the lengths of a network with channels.
    Raises InputError for a channel without width, depth or length, ConfigError for impossible options.
    """
    cells, flow = len(network), np.asarray(flow, np.float64)
    manning = np.array(np.broadcast_to(manning, cells), np.float64)
    if meander < 1 or bankfull <= 0 or not (manning > 0).all():
        raise ConfigError("channel: expected meander >= 1, bankfull > 0 and manning > 0; found others")
    law = np.clip(0.055 * (network.upstream_area / _KM2) ** -0.5, 1e-5, 5e-3)
    slope = law if slope is None else np.array(np.broadcast_to(slope, cells), np.float64)
    width = _first(width, network.width, np.maximum(7.2 * np.sqrt(flow), 10.0))
    _refuse(network, "width", width)
    full = (manning * bankfull * flow / (width * np.sqrt(np.maximum(slope, 1e-6)))) ** 0.6
    depth = _first(depth, network.depth, np.maximum(full, 1.0))
    own = network.channel_length is not None
    distance = network.length * (1.0 if own else meander)
    length = _first(None, network.channel_length, distance)
    for name, values in (("depth", depth), ("length", length), ("way", distance)):
        _refuse(network, name, values)
    bed = bank(network, slope * distance) - depth if network.elevation is None else network.elevation - depth
    shares = RELIEF * (np.arange(1, LAYERS + 1) / LAYERS) ** 2
    floodplain = _first(floodplain, network.floodplain, np.broadcast_to(shares, (cells, LAYERS)))
    tables = _tables(network.area, width * length, depth, floodplain)
    return Channel(length, distance, width, depth, bed, np.maximum(slope, 1e-6), manning, network.area, *tables)


def yamazaki(flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Width and depth [m] of Yamazaki et al. 2011: W = max(0.40 R^0.75, 10), B = max(0.14 R^0.40, 2), R [m3 s-1] the
    yearly maximum of the 30-day mean flow."""
    flow = np.asarray(flow, np.float64)
    return np.maximum(0.40 * flow**0.75, 10.0), np.maximum(0.14 * flow**0.40, 2.0)


def bank(network: Network, rise: np.ndarray) -> np.ndarray:
    """Elevation (cell,) [m] above each river's last cell, from the rise [m] to each cell from the next."""
    height = np.zeros(len(network))
    for i in range(len(network) - 1, -1, -1):
        down = network.downstream[i]
        if down >= 0:
            height[i] = height[down] + rise[i]
    return height


def fill(made: Channel, depth: np.ndarray) -> np.ndarray:
    """Storage [m3] under a depth of water above the bed [m], both (..., cell): the inverse of `level`."""
    above = np.maximum(depth - made.depth, 0.0)
    within = np.minimum(depth, made.depth) * made.width * made.length
    steps = np.clip(above[..., None] - made.height[:, :-1], 0.0, np.diff(made.height, axis=1))
    climb = np.diff(made.height, axis=1)
    share = np.divide(steps, climb, out=np.zeros_like(steps), where=climb > 0)
    layers = steps * (made.surface[:, :-1] + 0.5 * share * np.diff(made.surface, axis=1))
    top = np.maximum(above - made.height[:, -1], 0.0) * made.surface[:, -1]
    return within + layers.sum(-1) + top


def level(made: Channel, storage: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """storage: (..., cell) [m3] -> depth of water above the bed [m], flooded share of the cell [1].

    The share is the floodplain's, without the channel.
    """
    layer = np.clip((storage[..., None] >= made.volume).sum(-1) - 1, 0, made.volume.shape[1] - 1)
    cells = np.arange(made.volume.shape[0])
    last = made.volume.shape[1] - 1
    after = np.minimum(layer + 1, last)
    base, climb = made.surface[cells, layer], made.height[cells, after] - made.height[cells, layer]
    steep = np.divide(made.surface[cells, after] - base, climb, out=np.zeros_like(base), where=climb > 0)
    over = np.maximum(storage - made.volume[cells, layer], 0.0)
    rise = 2 * over / (base + np.sqrt(base * base + 2 * steep * over))
    in_bank = storage < made.volume[:, 0]
    depth = np.where(in_bank, storage / made.surface[:, 0], made.depth + made.height[cells, layer] + rise)
    surface = np.where(in_bank, made.surface[:, 0], base + steep * rise)
    return depth, (surface - made.surface[:, 0]) / made.area


def normal_depth(made: Channel, flow: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Depth [m] at which a wide channel carries a flow [m3 s-1]: q = h^(5/3) S^(1/2) / n."""
    return (made.manning * flow / (made.width * np.sqrt(slope))) ** 0.6


def _refuse(network: Network, name: str, values: np.ndarray) -> None:
    cells = len(network)
    wrong = ~(np.isfinite(values) & (values > 0)) if values.shape == (cells,) else np.ones(cells, bool)
    if wrong.any():
        bad = int(np.flatnonzero(wrong)[0])
        raise InputError(
            f"{network.source}: channel {name} at {place(network.lat[bad], network.lon[bad])}: found "
            f"{values.ravel()[bad]:g} in an array of {values.shape}, expected a number > 0 m for each of {cells} cells"
        )


def _first(*candidates: np.ndarray | None) -> np.ndarray:
    return np.array(next(c for c in candidates if c is not None), np.float64, order="C")


def _tables(
    area: np.ndarray, channel: np.ndarray, depth: np.ndarray, floodplain: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    layers = floodplain.shape[1]
    height = np.concatenate([np.zeros((len(area), 1)), floodplain], axis=1)
    if not (np.diff(height, axis=1) >= 0).all():
        raise InputError("floodplain: found a height that falls; expected layers that rise from the bank")
    surface = channel[:, None] + area[:, None] * np.arange(layers + 1) / layers
    steps = np.diff(height, axis=1) * 0.5 * (surface[:, 1:] + surface[:, :-1])
    volume = np.cumsum(np.concatenate([(channel * depth)[:, None], steps], axis=1), axis=1)
    return tuple(np.ascontiguousarray(table) for table in (height, surface, volume))
