"""What our network is trained on: spectra that are drawn and projected once, with noise of its own in every step."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sciml.core.errors import ConfigError, InputError
from sciml.core.seeds import seed_for
from sciml.nn.training import TensorSamples, TrainingConfig, fit, seeded, single_thread
from sciml.stellar.heads import negative_log_likelihood, scaled
from sciml.stellar.labels import COUNT
from sciml.stellar.projected_grid import tabulate
from sciml.stellar.samples import SNR, Rotatable, Source, draw
from sciml.stellar.sciml_net import SciMLNet

_ANSWERED, _USES = 40960, 8  # spectra that the head of `gauss_newton` is fitted to at most; of each sample
_HEAD_FITTING = TrainingConfig(40, 1024, 3e-3, weight_decay=1e-4, clip_norm=1.0)
_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class ProjectedSamples:
    """Spectra that were drawn and projected once; each batch takes some of them with new noise and new SNR.

    projected: (n, order, K) without noise; there: (n, order); labels: (n, 4) in half ranges; noise: (order, K, K),
    lower factor of the covariance of the projections' noise at SNR 1, which is the identity for white noise. epoch:
    samples that make an epoch.
    """

    projected: Tensor
    there: Tensor
    labels: Tensor
    noise: Tensor
    snr: SNR
    epoch: int

    def __len__(self) -> int:
        return self.epoch

    def batch(self, index: Tensor) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        """index: its length alone matters; which spectra these are is drawn, as their noise is, from the loop's random
        state."""
        generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        chosen = torch.randint(len(self.labels), index.shape, generator=generator)
        snr, there = self.snr.draw(generator, len(index)), self.there[chosen]
        white = torch.randn(len(index), *self.projected.shape[1:], generator=generator)
        noise = torch.einsum("nok,ojk->noj", white, self.noise) * (there.sqrt() / snr[:, None])[..., None]
        return (self.projected[chosen] + noise, snr, there), self.labels[chosen], torch.ones(len(index))


def projected_samples(
    model: SciMLNet,
    source: Source,
    snr: SNR,
    count: int,
    epoch: int,
    seed: int,
    device: torch.device | str = "cpu",
    block: int = 200,
) -> ProjectedSamples:
    """Draw `count` spectra, in blocks that are known by their place, and project them on `device`.

    The covariance of the projected noise is that of the draws: white noise, noise that follows the blaze and what
    filling makes of it are all the same here.
    """
    orders, components = model.directions.shape[:2]
    # filled in place: what is kept of each block, between what it needs, would hold all of that in a thread's heap
    clean, noise = torch.empty(count, orders, components), torch.empty(count, orders, components)
    there, labels = torch.empty(count, orders), torch.empty(count, COUNT)
    model.to(device)
    with torch.no_grad():
        for start in range(0, count, block):
            values, drawn = draw(source, snr, min(block, count - start), seed_for(seed, "projected", start))
            part = slice(start, start + len(values))
            flux = torch.where(drawn.mask, drawn.flux, 1.0)
            seen, share = model.project(*(x.to(device) for x in (drawn.clean, values, drawn.mask)))
            noisy, _ = model.project(*(x.to(device) for x in (flux, values, drawn.mask)))
            size = values[:, None, None] / share.cpu().sqrt().clamp_min(1e-3)[..., None]
            clean[part], there[part] = seen.cpu(), share.cpu()
            labels[part], noise[part] = scaled(drawn.labels).cpu(), (noisy - seen).cpu() * size
    return ProjectedSamples(clean, there, labels, _factor(noise, there), snr, epoch)


def require_table(source: Source) -> Rotatable:
    """The source, if its spectra depend on the labels alone. Raises ConfigError, before any work, if not."""
    if not isinstance(source, Rotatable):
        raise ConfigError(f"{type(source).__name__}: there is no table of its spectra; leave out atmospheres")
    source.rotated(np.array([(6000.0, 4.0, 0.0)]), np.zeros(1))
    return source


def fit_gauss_newton(
    model: SciMLNet, source: Source, samples: ProjectedSamples, seed: int, device: torch.device | str = "cpu"
) -> None:
    """Fill the last part of a model whose estimator is trained: its grid from the source, its head by answers for
    samples with noise of their own. Raises ConfigError as `require_table` does."""
    table = require_table(source)
    last = model.gauss_newton
    assert last is not None
    model.to(device).eval()

    def project(clean: Tensor) -> Tensor:
        whole = torch.ones((), dtype=torch.bool, device=device).expand_as(clean)
        return model.project(clean.to(device), torch.full((len(clean),), torch.inf, device=device), whole)[0].flatten(1)

    with torch.no_grad(), single_thread(), seeded(seed_for(seed, "answers")):
        last.grid.load_state_dict(tabulate(project, table, len(last.grid.inputs), seed).state_dict())
        parts = []
        for index in torch.arange(min(_ANSWERED, _USES * len(samples.labels))).split(_AT_ONCE):
            inputs, target, _ = samples.batch(index)
            seen = [part.to(device) for part in inputs]
            parts.append((*last.stepped(*seen, model.estimator(*seen)), target))
    answer, features, target = (torch.cat(part).cpu() for part in zip(*parts, strict=True))
    told = TensorSamples((answer, features), target, torch.ones(len(target)))
    fit(last.head, told, _HEAD_FITTING, seed=seed_for(seed, "head"), loss=negative_log_likelihood, device=device)


def _factor(errors: Tensor, shares: Tensor) -> Tensor:
    """(n, order, K) -> (order, K, K) lower, from the stars whose order is mostly there."""
    found = []
    for order in range(errors.shape[1]):
        used = errors[shares[:, order] > 0.5, order].double()
        size = used.shape[1]
        if len(used) < 2 * size:
            raise InputError(
                f"projected samples: {len(used)} spectra have order {order}, expected at least {2 * size} to know its"
                " noise; draw more"
            )
        found.append(torch.linalg.cholesky(used.T @ used / len(used) + 1e-6 * torch.eye(size).double()))
    return torch.stack(found).float()
