"""What a search of our network's settings minimises, and how its result is read.

Settings are judged on emulated stars with a seed of their own, which no training and no score has: direct syntheses,
on which methods are scored, are never looked at. Spectra are drawn and projected once in each process, for all trials.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from sciml.core.seeds import seed_for
from sciml.nn.training import TensorSamples, evaluate, fit, seeded
from sciml.stellar.experiments import Setup
from sciml.stellar.heads import negative_log_likelihood, scaled
from sciml.stellar.networks import OURS, Fitting, Settings, components_of
from sciml.stellar.samples import draw
from sciml.stellar.sciml_net import Estimator, SciMLConfig, SciMLNet, likelihood_and_misfit
from sciml.stellar.sciml_training import ProjectedSamples, projected_samples

PART = 4  # a search has so many times fewer spectra and epochs than the training that takes its result
VALIDATION = 2048  # stars
_BLOCK = 128
_NETWORK = tuple(field.name for field in fields(SciMLConfig))
_FITTING = ("learning_rate", "weight_decay", "batch_size")


@dataclass(frozen=True)
class Objective:
    """What `cluster.tune.Search` calls: after each epoch the mean negative log likelihood of the labels of validation
    stars [nats, labels in half ranges], of the estimator: all of our network, or the start of its Gauss-Newton steps
    where spectra depend on the labels alone. default: settings that are not drawn, see `shorter`."""

    setup: Setup
    default: Settings

    def __call__(self, config: Mapping[str, Any], settings: Mapping[str, Any], report: Callable[[float], None]) -> None:
        chosen, seed = taken(self.default, settings), seed_for(self.setup.seed, OURS, "search")
        samples, validation, spread = _spectra(self.setup, self.default)
        with seeded(seed):
            estimator = Estimator(*spread.shape, chosen.sciml)
        estimator.spread.copy_(spread)

        def after(epoch: int, metrics: Mapping[str, float], state: Mapping[str, Any]) -> None:
            report(evaluate(estimator, validation, negative_log_likelihood, device=config["device"]))

        fit(
            estimator,
            samples,
            chosen.estimating.config(),
            seed=seed,
            loss=likelihood_and_misfit,
            report=after,
            device=config["device"],
        )


def shorter(settings: Settings) -> Settings:
    """Settings of a search: fewer spectra and epochs."""
    whole = settings.estimating
    fewer = replace(whole, epochs=max(1, whole.epochs // PART), spectra=max(1, whole.spectra // PART))
    bank = max(settings.bank // PART, 8 * settings.components)
    return replace(settings, bank=bank, estimating=fewer)


def drawn_of(settings: Settings) -> dict[str, Any]:
    """What a search may draw, as it is in some settings."""
    network = {name: getattr(settings.sciml, name) for name in _NETWORK}
    return network | {name: getattr(settings.estimating, name) for name in _FITTING}


def taken(settings: Settings, found: Mapping[str, Any]) -> Settings:
    """Settings with what a search drew."""
    network = {name: value for name, value in found.items() if name in _NETWORK}
    fitting = {name: value for name, value in found.items() if name in _FITTING}
    estimating: Fitting = replace(settings.estimating, **fitting)
    return replace(settings, sciml=replace(settings.sciml, **network), estimating=estimating)


@functools.lru_cache(maxsize=1)
def _spectra(setup: Setup, settings: Settings) -> tuple[ProjectedSamples, TensorSamples, Tensor]:
    """What trials are fitted to; validation stars, projected with their noise; spread (order, K) of projections."""
    source, seed = setup.source(), seed_for(setup.seed, OURS, "search")
    model = SciMLNet(*source.shape, settings.components, settings.sciml)
    model.load(components_of(source, settings, seed))
    samples = projected_samples(
        model, source, settings.our_snr, settings.bank, settings.estimating.spectra, seed_for(seed, "bank")
    )
    parts = []
    with torch.no_grad():
        for start in range(0, VALIDATION, _BLOCK):
            snr, drawn = draw(source, settings.our_snr, _BLOCK, seed_for(seed, "validation", start))
            projected, there = model.project(torch.where(drawn.mask, drawn.flux, 1.0), snr, drawn.mask)
            parts.append((projected, snr, there, scaled(drawn.labels)))
    *inputs, target = (torch.cat(column) for column in zip(*parts, strict=True))
    return samples, TensorSamples(tuple(inputs), target, torch.ones(len(target))), model.estimator.spread
