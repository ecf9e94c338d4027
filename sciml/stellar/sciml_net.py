"""Our network: each order projected on a few directions, then small dense layers that take one Gauss-Newton step.

1. Stem. c_o = V_o (x_o - mean_o), the rows of V_o orthonormal: with white noise of sigma = 1 / SNR the numbers c have
   just that noise each, and keep all that the spectrum says as far as V spans the derivatives of the spectrum with
   respect to the parameters (score compression, Alsing & Wandelt 2018; `Compression`). Missing pixels are filled from
   the projection itself. Orders stay apart, so one that is missing is known to be.
2. Estimate. A residual network of dense layers, steered by log SNR and by which orders are there, gives a first mean.
3. Steps. A small decoder says which c the mean should have, and a gain (4, K) that depends on mean and SNR turns the
   difference into a correction: mean <- mean + G(mean, SNR) (c - m(mean)), linear in the noise as Gauss-Newton is.
   Where spectra depend on the labels alone, `gauss_newton` takes real ones from there.
4. Spread. Precision is what the labels' range gives plus SNR^2 times what the network gives, so that sigma falls with
   SNR as it must, also at SNRs that were not trained on.

The stem is most of the operations and needs no training to be good. So the rest is trained on projected spectra, with
noise of its own in every step (`ProjectedSamples`): a step costs a hundredth of one on spectra.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.linalg import eigh
from torch import Tensor, nn

from sciml.core.errors import InputError
from sciml.stellar.gauss_newton import GaussNewton
from sciml.stellar.heads import FULL, PRIOR_PRECISION, negative_log_likelihood
from sciml.stellar.labels import COUNT

REFERENCE_SNR = 50.0
FIRST_SPREAD = 0.05  # of half a label's range, at the reference SNR: where the fit starts
REFILLS, MORE_REFILLS = 2, 8  # of missing pixels; where what they leave out is not learnt
HIGHEST, HIGHEST_NOISE = 0.25, 6.0  # above the continuum, what is more and beyond so many sigmas is a cosmic ray
MISFIT_WEIGHT = 1.0


@dataclass(frozen=True)
class SciMLConfig:
    """width, blocks: of the dense layers; inner: hidden width of decoder and gain; steps: of these. atmospheres: of the
    table that `gauss_newton` interpolates in, 0 where spectra depend on more than the labels."""

    width: int = 256
    blocks: int = 2
    inner: int = 256
    steps: int = 1
    atmospheres: int = 0


@dataclass(frozen=True, eq=False)
class Compression:
    """mean: (order, pixel) spectrum; directions: (order, K, pixel) orthonormal in each order; spread: (order, K)
    deviation of the projections over stars, without noise."""

    mean: Tensor
    directions: Tensor
    spread: Tensor


def compression(clean: Tensor, count: int, rows: Tensor | None = None) -> Compression:
    """Projection of noise-free spectra (n, order, pixel) on `count` directions of each order, 0 where nothing varies.

    rows: (m, order, pixel) what the directions span best, `score_directions` of the spectra as a rule; without them
    the spectra less their mean (principal components), which cost precision where lines are few and weak.
    """
    least = min(len(clean if rows is None else rows), clean.shape[2])
    if least < count:
        raise InputError(
            f"compression: {len(clean if rows is None else rows)} spectra of {clean.shape[2]} pixels an order cannot"
            f" give {count} directions; draw more spectra or ask for fewer"
        )
    mean, directions, spread = [], [], []
    for order in range(clean.shape[1]):  # one at a time: in double precision all of them would fill the memory
        flux = clean[:, order].cpu().double()
        mean.append(flux.mean(0))
        apart = flux - mean[-1]
        directions.append(_leading(apart if rows is None else rows[:, order].cpu().double(), count))
        spread.append((apart @ directions[-1].T).std(0))
    deviation = torch.stack(spread).clamp_min(1e-4)  # so that no projection is divided by nothing
    return Compression(torch.stack(mean).float(), torch.stack(directions).float(), deviation.float())


def _leading(rows: Tensor, count: int) -> Tensor:
    """(count, pixel) right singular vectors of rows (n, pixel), from the smaller of the two matrices of products."""
    wide = rows.shape[0] < rows.shape[1]
    products = (rows @ rows.T if wide else rows.T @ rows).numpy()
    last = len(products) - 1
    vectors = torch.from_numpy(eigh(products, subset_by_index=(last - count + 1, last))[1].copy()).flip(1).T
    found = torch.linalg.qr((vectors @ rows).T).Q.T if wide else vectors
    return torch.where((rows != 0).any(0), found, 0.0)


def score_directions(jacobian: Tensor, snr: float, prior: Tensor | None = None) -> Tensor:
    """Rows for `compression`: derivatives made independent and of equal weight at each star.

    jacobian: (n, parameter, order, pixel) of the spectrum by parameters, nuisances included, in units of half their
    range; snr: at which the directions should serve. prior: (parameter,) precision of each in these units, 3 for an
    even one. With F = J J^T SNR^2 + prior, the rows are F^(-1/2) J SNR -> (n * parameter, order, pixel): faint
    lines of a poor star then count as much as the strong ones of a rich one, as its labels do.
    """
    flat = jacobian.double().flatten(2)
    known = torch.full(flat.shape[1:2], PRIOR_PRECISION, dtype=torch.double) if prior is None else prior.double()
    factor = torch.linalg.cholesky(flat @ flat.mT * snr**2 + torch.diag(known).to(flat.device))
    return torch.linalg.solve_triangular(factor, flat * snr, upper=False).reshape(-1, *jacobian.shape[2:])


def price_of_compression(made: Compression, jacobian: Tensor, snr: float, prior: Tensor | None = None) -> Tensor:
    """(n, parameter): the sigma that the projections allow over that which the whole spectra allow, at least 1.

    jacobian, snr, prior: as `score_directions` takes them, of spectra that the directions were not made from.
    """
    known = torch.full(jacobian.shape[1:2], PRIOR_PRECISION, dtype=torch.double) if prior is None else prior.double()
    projected = torch.einsum("njop,okp->njok", jacobian.double(), made.directions.double())

    def variance(flat: Tensor) -> Tensor:
        return torch.linalg.inv(flat @ flat.mT * snr**2 + torch.diag(known).to(flat.device)).diagonal(dim1=1, dim2=2)

    return (variance(projected.flatten(2)) / variance(jacobian.double().flatten(2))).sqrt()


class SciMLNet(nn.Module):
    """Spectra -> Gaussians of their labels with a full covariance, as `sciml.stellar.heads` writes them."""

    def __init__(self, orders: int, pixels: int, components: int, config: SciMLConfig) -> None:
        super().__init__()
        self.register_buffer("mean", torch.ones(orders, pixels))
        self.register_buffer("used", torch.ones(orders, pixels, dtype=torch.bool))
        self.register_buffer("directions", torch.zeros(orders, components, pixels))
        self.estimator = Estimator(orders, components, config)
        self.gauss_newton = GaussNewton(config.atmospheres, orders, components) if config.atmospheres else None
        self.refills = MORE_REFILLS if config.atmospheres else REFILLS

    def load(self, made: Compression) -> None:
        """Start from a compression."""
        with torch.no_grad():
            self.mean.copy_(made.mean)
            self.directions.copy_(made.directions)
            self.used.copy_((made.directions != 0).any(1))
            self.estimator.spread.copy_(made.spread)

    def project(self, flux: Tensor, snr: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """flux, mask: (batch, order, pixel); snr: (batch,) -> c (batch, order, K), share of the pixels of each order
        that was observed (batch, order), not counting pixels that no direction looks at."""
        highest = HIGHEST + HIGHEST_NOISE / snr[:, None, None]
        apart = (torch.minimum(flux, 1.0 + highest) - self.mean).transpose(0, 1)  # (order, batch, pixel)
        there = (mask | ~self.used).transpose(0, 1)
        if bool(there.all()):
            return (apart @ self.directions.mT).transpose(0, 1), torch.ones_like(flux[..., 0])
        apart = torch.where(there, apart, 0.0)
        found = apart @ self.directions.mT
        for _ in range(self.refills):
            found = torch.where(there, apart, found @ self.directions) @ self.directions.mT
        missing = (~there).sum(2) / self.used.sum(1).clamp_min(1)[:, None]
        return found.transpose(0, 1), (1.0 - missing).T

    def forward(self, flux: Tensor, snr: Tensor, mask: Tensor) -> Tensor:
        """flux, mask: (batch, order, pixel), continuum 1, mask true where it was observed; snr: (batch,)
        -> (batch, 14). To be asked alone: its parts are trained by themselves."""
        projected, there = self.project(flux, snr, mask)
        found: Tensor = self.estimator(projected, snr, there)
        return found if self.gauss_newton is None else self.gauss_newton(projected, snr, there, found)


class Estimator(nn.Module):
    """Parts 2 to 4: projections -> Gaussians of the labels."""

    def __init__(self, orders: int, components: int, config: SciMLConfig) -> None:
        super().__init__()
        size, steered = orders * components, 32
        self.steps = config.steps
        self.register_buffer("spread", torch.ones(orders, components))
        self.steer = nn.Sequential(nn.Linear(1 + orders, steered), nn.GELU(), nn.Linear(steered, steered))
        self.enter = nn.Linear(size, config.width)
        self.blocks = nn.ModuleList(_Steered(config.width, steered) for _ in range(config.blocks))
        self.leave = _silent(nn.Linear(config.width, FULL))
        self.decoder = _dense(COUNT, config.inner, size)
        self.gain = _dense(COUNT + 1 + orders, config.inner, COUNT * size)
        _silent(self.gain[-1])

    def forward(self, projected: Tensor, snr: Tensor, there: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """projected: (batch, order, K); snr: (batch,); there: (batch, order) share of each order that was observed."""
        noise = 1.0 / snr[:, None, None]
        unit = (self.spread.square() + noise.square()).sqrt()
        log_snr = (snr / REFERENCE_SNR).log()[:, None]
        state = torch.cat([log_snr, 1.0 - there], 1)
        steering = self.steer(state)
        hidden = self.enter((projected / unit).flatten(1))
        for block in self.blocks:
            hidden = block(hidden, steering)
        mean, sizes, below = self.leave(hidden).split([COUNT, COUNT, FULL - 2 * COUNT], 1)
        misfit = torch.zeros_like(snr)
        for _ in range(self.steps):
            expected = self.decoder(mean).view_as(projected) * self.spread
            apart = (projected - there[..., None] * expected) / unit
            misfit = misfit + apart.square().mean((1, 2)) / self.steps
            gain = self.gain(torch.cat([mean, state], 1)).view(len(mean), COUNT, -1)
            mean = mean + 0.1 * (gain @ apart.flatten(1)[..., None])[..., 0]
        relative = (sizes - log_snr).clamp(-9.0, 4.0) + math.log(FIRST_SPREAD)
        log_s = -0.5 * torch.log(PRIOR_PRECISION + torch.exp(-2.0 * relative))
        output = torch.cat([mean, log_s, below], 1)
        return (output, misfit) if self.training else output


def likelihood_and_misfit(output: Tensor | tuple[Tensor, Tensor], target: Tensor, weight: Tensor) -> Tensor:
    """Loss: `negative_log_likelihood`; in training plus the misfit of the decoder, which makes the steps steps."""
    if isinstance(output, Tensor):
        return negative_log_likelihood(output, target, weight)
    total = weight.sum().clamp_min(1e-12)
    return negative_log_likelihood(output[0], target, weight) + MISFIT_WEIGHT * (output[1] * weight).sum() / total


class _Steered(nn.Module):
    """A dense residual layer on its input at unit size (as `sciml.modis.sciml_net`), scaled and moved by steering
    (Perez et al. 2018, FiLM); at first the input itself."""

    def __init__(self, width: int, steered: int) -> None:
        super().__init__()
        self.steering = _silent(nn.Linear(steered, 2 * width))
        self.first = nn.Linear(width, width)
        self.second = _silent(nn.Linear(width, width))

    def forward(self, x: Tensor, steering: Tensor) -> Tensor:
        gain, move = self.steering(steering).chunk(2, 1)
        unit = x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-2)
        return x + self.second(F.gelu(self.first(unit * (1.0 + gain) + move)))


def _dense(inside: int, inner: int, outside: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inside, inner), nn.GELU(), nn.Linear(inner, inner), nn.GELU(), nn.Linear(inner, outside)
    )


def _silent(layer: nn.Module) -> nn.Linear:
    assert isinstance(layer, nn.Linear)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
