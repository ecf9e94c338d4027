"""Local-inertial flow on torch: the equations and steps of `inertial`, all cells, basins and members at once, on a GPU
or the CPU. Every basin and member takes steps of its own length; who has ended the day waits with steps of none. The
results equal the compiled kernel's to 1e-9. No gradient goes through."""

import numpy as np
import torch
from torch import Tensor

from sciml.rivers.channel import Channel
from sciml.rivers.inertial import ALPHA, LONGEST, ends
from sciml.rivers.inertial_kernel import DRY, NORMAL, G
from sciml.rivers.network import SECONDS, WATER, Network


@torch.no_grad()
def route_inertial_torch(
    network: Network,
    runoff: Tensor,
    made: Channel,
    state: tuple[Tensor, Tensor] | None = None,
    *,
    boundary: str = "sea",
    sea_level: float | None = None,
    alpha: float = ALPHA,
    longest: float = LONGEST,
) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, Tensor]]:
    """runoff: (time, member, cell) -> daily means of discharge, flooded share and depth, of the same shape, and the
    state (storage, flow), each (member, cell), at the end. Units, arguments as of `inertial.route_inertial`.
    """
    router = _Router(network, made, runoff.device, ends(network, made, boundary, sea_level), alpha, longest)
    days, members, cells = runoff.shape
    zero = torch.zeros(cells, members, dtype=torch.float64, device=runoff.device)
    held, ran = (zero, zero) if state is None else (part.T.to(torch.float64).contiguous() for part in state)
    out = torch.empty(3, days, members, cells, dtype=torch.float64, device=runoff.device)
    for day in range(days):
        water = runoff[day].T.to(torch.float64) * router.area / (WATER * SECONDS)
        held, ran, means = router.day(held, ran, water)
        out[:, day] = means.transpose(1, 2)
    return out[0], out[1], out[2], (held.T.contiguous(), ran.T.contiguous())


class _Router:
    """Constants of the cells on a device, (cell, 1); cells run along the first axis, members along the last."""

    def __init__(
        self,
        network: Network,
        made: Channel,
        device: torch.device,
        ends: tuple[np.ndarray, np.ndarray],
        alpha: float,
        longest: float,
    ) -> None:
        def tensor(values: np.ndarray) -> Tensor:
            return torch.as_tensor(np.ascontiguousarray(values), device=device)

        def column(values: np.ndarray) -> Tensor:
            return tensor(values)[:, None]

        kind, sea = ends
        count = len(network)
        self.alpha, self.longest = alpha, longest
        self.inner, self.normal = column(kind >= 0), column(kind == NORMAL)
        self.down = tensor(np.where(kind >= 0, kind, count))  # outlets into a row of their own, dropped after
        self.following = tensor(np.where(kind >= 0, kind, np.arange(count)))
        self.basin, self.basins = tensor(network.basin), len(network.basin_start) - 1
        self.area, self.sea, self.bed = column(network.area), column(sea), column(made.bed)
        self.width, self.bank, self.distance = column(made.width), column(made.depth), column(made.distance)
        self.drop, self.friction = column(made.slope * made.distance), column(made.manning) ** 2
        self.height, self.surface, self.volume = tensor(made.height), tensor(made.surface), tensor(made.volume)
        self.across = self.surface[:, :1]
        # depth above the ground that lies between two cells is counted from the higher bed
        self.sill = torch.where(self.inner, torch.maximum(self.bed, self.bed[self.following]), self.bed)

    def below(self, values: Tensor) -> Tensor:
        """Sum over the links that end in each cell."""
        out = torch.zeros(len(values) + 1, values.shape[1], dtype=values.dtype, device=values.device)
        return out.index_add_(0, self.down, values)[:-1]

    def most(self, values: Tensor) -> Tensor:
        """Largest of each basin, (basin, member)."""
        out = torch.zeros(self.basins, values.shape[1], dtype=values.dtype, device=values.device)
        return out.scatter_reduce_(0, self.basin[:, None].expand_as(values), values, "amax")

    def level(self, held: Tensor) -> tuple[Tensor, Tensor]:
        last = self.volume.shape[1] - 1
        layer = ((held[:, None, :] >= self.volume[:, :, None]).sum(1) - 1).clamp(0, last)
        after = (layer + 1).clamp(max=last)
        base, low = self.surface.gather(1, layer), self.height.gather(1, layer)
        climb = self.height.gather(1, after) - low
        steep = torch.where(climb > 0, (self.surface.gather(1, after) - base) / climb, 0.0)
        over = (held - self.volume.gather(1, layer)).clamp(min=0.0)
        rise = 2.0 * over / (base + torch.sqrt(base * base + 2.0 * steep * over))
        low_water = held < self.volume[:, :1]
        depth = torch.where(low_water, held / self.across, self.bank + low + rise)
        return depth, torch.where(low_water, self.across.expand_as(held), base + steep * rise)

    def day(self, held: Tensor, ran: Tensor, water: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        means = torch.zeros(3, *held.shape, dtype=torch.float64, device=held.device)
        remaining = torch.full((self.basins, held.shape[1]), SECONDS, dtype=torch.float64, device=held.device)
        while bool((remaining > 0).any()):
            held, ran, remaining = self.step(held, ran, water, remaining, means)
        means[0] /= SECONDS
        means[1] /= SECONDS * self.area
        means[2] /= SECONDS
        return held, ran, means

    def step(
        self, held: Tensor, ran: Tensor, water: Tensor, remaining: Tensor, means: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        depth, top = self.level(held)
        here = self.bed + depth
        there = torch.where(self.inner, here[self.following], torch.where(self.normal, here - self.drop, self.sea))
        deep = torch.where(self.normal, depth, torch.maximum(here, there) - self.sill)
        wet = deep > DRY
        deep = torch.where(wet, deep, 1.0)
        link = torch.where(wet & ~self.normal, G * deep * self.width / self.distance, 0.0)
        square = self.most((link + self.below(link)) / (2.0 * top))
        fast = self.most(torch.where(wet, ran.abs() * (5.0 / 3.0) / (deep * top), 0.0))
        limit = torch.maximum(torch.sqrt(square), fast)
        length = torch.where(limit * self.longest <= self.alpha, self.longest, self.alpha / limit)
        of_basin = torch.where(remaining > 0, remaining / torch.ceil(remaining / length), 0.0)
        dt = of_basin[self.basin]
        r = ran + G * dt * self.width * deep * ((here - there) / self.distance)
        b = G * dt * self.friction / (self.width * deep * deep * torch.pow(deep, 1 / 3))
        ran = torch.where(wet, 2.0 * r / (1.0 + torch.sqrt(1.0 + 4.0 * b * r.abs())), 0.0)
        leaving = ran.clamp(min=0.0) + self.below((-ran).clamp(min=0.0))
        share = torch.where(leaving * dt > held, held / (leaving * dt), 1.0)
        from_next = torch.where(self.inner, share[self.following], 1.0)
        ran = ran * torch.where(ran > 0, share, from_next)
        moved = dt * ran
        held = held + dt * water - moved + self.below(moved)
        means += torch.stack([moved, dt * (top - self.across), dt * depth])
        remaining = remaining - of_basin
        return held, ran, torch.where(remaining < 1e-6, 0.0, remaining)
