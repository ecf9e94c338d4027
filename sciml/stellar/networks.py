"""The networks of stellar parameters: how each is made, what it is trained on, and how it is asked.

Those of the paper (resnet, attention, either behind a denoiser, each with a diagonal or a full covariance) are trained
on spectra at one SNR; ours (sciml) at all of a range. Every batch is drawn afresh.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sciml.core.errors import ConfigError
from sciml.core.seeds import seed_for
from sciml.nn.losses import weighted_mse
from sciml.nn.training import Loss, Report, Samples, Schedule, State, TrainingConfig, fit, seeded, single_thread
from sciml.stellar.answers import require_spectra
from sciml.stellar.attention import AttentionConfig, AttentionNet
from sciml.stellar.denoiser import Denoised, Denoiser, DenoiserConfig
from sciml.stellar.heads import gaussian, negative_log_likelihood, physical
from sciml.stellar.resnet import ResNet, ResNetConfig
from sciml.stellar.samples import SNR, Differentiable, Source, SpectrumSamples, draw
from sciml.stellar.sciml_net import (
    Compression,
    SciMLConfig,
    SciMLNet,
    compression,
    likelihood_and_misfit,
    score_directions,
)
from sciml.stellar.sciml_training import ProjectedSamples, fit_gauss_newton, projected_samples, require_table

OURS, DENOISER = "sciml", "denoiser"
PAPER = ("resnet", "attention", "dae_resnet", "dae_attention")
NETS = (*PAPER, *(f"{name}_full" for name in PAPER), OURS)
NETS_VERSION = 2  # raise it when training makes other networks: old ones are not reused
TABLE_VERSION = 2  # the same for what follows the estimator of ours where spectra depend on the labels alone
BATCH = 8  # spectra at a time when a network is asked on a CPU, whose cache holds their features; more elsewhere
BATCH_ELSEWHERE = 256
DERIVATIVES = 16  # stars whose derivatives are held together in double precision

Preset = Literal["paper", "small", "generated"]


@dataclass(frozen=True)
class Fitting:
    """epochs of `spectra` samples each; the rest as `TrainingConfig`. Without weight decay it is Adam."""

    epochs: int
    spectra: int
    batch_size: int = 32
    learning_rate: float = 1e-3
    schedule: Schedule = "one_cycle"
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    last_epochs: int = 0

    def config(self, workers: int = 1) -> TrainingConfig:
        """workers: how many share each batch."""
        return TrainingConfig(
            self.epochs,
            max(1, self.batch_size // workers),
            self.learning_rate,
            self.schedule,
            self.weight_decay,
            self.clip_norm,
            self.last_epochs,
        )


@dataclass(frozen=True)
class Settings:
    """Sizes and fitting of all networks.

    snr: of the spectra that the paper's networks and the denoiser see; our_snr: those that ours sees. fine_tune:
    whether a denoiser is fitted on with the network behind it. components: directions of each order on which ours
    projects spectra; drawn, derivatives: stars whose spectra, and derivatives where the source has such, they are made
    from where no compression is given. bank: spectra that are drawn and projected once. estimating: fit of ours to
    these.
    """

    resnet: ResNetConfig = field(default_factory=ResNetConfig)
    attention: AttentionConfig = field(default_factory=AttentionConfig)
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    sciml: SciMLConfig = field(default_factory=lambda: SciMLConfig(atmospheres=4000))
    fitting: Fitting = field(default_factory=lambda: Fitting(16, 1600))
    denoising: Fitting = field(default_factory=lambda: Fitting(8, 1600, weight_decay=1e-2))
    estimating: Fitting = field(default_factory=lambda: Fitting(60, 131072, 1024, 3e-3, weight_decay=1e-4))
    snr: SNR = field(default_factory=lambda: SNR(20.0, 20.0))
    our_snr: SNR = field(default_factory=lambda: SNR(10.0, 300.0))
    fine_tune: bool = False
    components: int = 48
    drawn: int = 2000
    derivatives: int = 256
    bank: int = 100000

    def of(self, name: str) -> dict[str, Any]:
        """What the training of a network depends on, in plain values: those of the others may change."""
        if name == OURS:
            used = ["sciml", "our_snr", "components", "drawn", "derivatives", "bank", "estimating"]
        elif name == DENOISER:
            used = ["denoiser", "denoising", "snr"]
        else:
            used = ["attention" if "attention" in name else "resnet", "fitting", "snr"]
        if name.startswith("dae_"):
            used += ["denoiser", "denoising", "fine_tune"]
        values = asdict(self)
        found = {key: values[key] for key in used}
        return found | {"table": TABLE_VERSION} if name == OURS and self.sciml.atmospheres else found


PRESETS: Mapping[Preset, Settings] = {
    # the paper gives epochs, optimisers and steps; batches, widths and pooling are ours
    "paper": Settings(
        resnet=ResNetConfig((32, 32, 64, 64, 64), (4, 4, 4, 2, 2), stride=1, dense=256, dropout=0.2),
        attention=AttentionConfig((16, 32, 64, 64), stride=1, between=32, dense=128),
        denoiser=DenoiserConfig((32, 64, 128), latent=32),
        sciml=SciMLConfig(width=256, blocks=3, inner=256, atmospheres=8000),
        fitting=Fitting(750, 22669, 32, 1e-4, "constant", clip_norm=0.0, last_epochs=50),
        denoising=Fitting(1500, 22669, 32, 3e-4, "constant", 1e-2, clip_norm=0.0, last_epochs=50),
        estimating=Fitting(750, 1 << 20, 4096, 2e-3, weight_decay=1e-4),
        components=64,
        drawn=4000,
        derivatives=512,
        bank=400000,
    ),
    "small": Settings(),
    "generated": Settings(
        resnet=ResNetConfig((8, 8, 16, 16, 16), (2, 2, 2, 2, 1), stride=2, dense=32),
        attention=AttentionConfig((8, 8, 16, 16), stride=2, between=8, stretches=16, dense=32),
        denoiser=DenoiserConfig((8, 16), latent=8),
        sciml=SciMLConfig(width=64, blocks=1, inner=64, atmospheres=400),
        fitting=Fitting(8, 640, learning_rate=2e-3),
        denoising=Fitting(4, 640, learning_rate=2e-3, weight_decay=1e-2),
        estimating=Fitting(20, 20480, 512, 3e-3, weight_decay=1e-4),
        components=16,
        drawn=400,
        derivatives=64,
        bank=4000,
    ),
}


def new_network(name: str, settings: Settings, shape: tuple[int, int]) -> nn.Module:
    """A network for (orders, pixels) with the parameters that the surrounding random state gives it: a name of NETS, or
    DENOISER. All are called with (flux, snr, mask)."""
    if name == DENOISER:
        return Denoiser(*shape, settings.denoiser)
    if name == OURS:
        return SciMLNet(*shape, settings.components, settings.sciml)
    if name not in NETS:
        raise ConfigError(f"network {name!r}: expected one of {', '.join(NETS)}")
    bare, full = name.removesuffix("_full"), name.endswith("_full")
    if bare.startswith("dae_"):
        behind = new_network(name.removeprefix("dae_"), settings, shape)
        return Denoised(Denoiser(*shape, settings.denoiser), behind, settings.fine_tune)
    if bare == "resnet":
        return ResNet(*shape, replace(settings.resnet, full=full))
    return AttentionNet(*shape, replace(settings.attention, full=full))


def train_network(
    name: str,
    source: Source,
    settings: Settings,
    seed: int,
    *,
    made: Compression | None = None,
    denoiser: State | None = None,
    report: Report | None = None,
    resume: State | None = None,
    **engine: Any,
) -> State:
    """State of a network fitted to a source; engine: further keyword arguments of `sciml.nn.training.fit`.

    made: what ours projects on; without it `score_directions` of a source that is Differentiable, or else the principal
    components of drawn spectra. denoiser: state of a fitted
    DENOISER; without it a network that stands behind one has it fitted first. Epochs of all phases are counted through;
    the state tells its `phase`, and one that `report` was given resumes. The table and the head of ours follow the last
    epoch; every worker makes them.
    """
    with seeded(seed):
        model = new_network(name, settings, source.shape)
    if isinstance(model, SciMLNet):
        model.load(components_of(source, settings, seed) if made is None else made)
    if isinstance(model, Denoised) and denoiser is not None:
        model.denoiser.load_state_dict(denoiser["model"])
    device = str(engine.get("device", "cpu"))
    if isinstance(model, SciMLNet):
        if model.gauss_newton is not None:
            require_table(source)
        bank = _Bank(model, source, settings, seed_for(seed, "bank"), device)
        phases = [_Phase("estimator", model.estimator, bank, likelihood_and_misfit, settings.estimating)]
    else:
        phases = _phases(name, model, source, settings, denoiser is None)
    state = _fit(phases, seed, report, resume, engine)
    if isinstance(model, SciMLNet) and model.gauss_newton is not None:
        fit_gauss_newton(model, source, bank(), seed_for(seed, "steps"), device)
    return {**state, "model": model.state_dict()}


@dataclass(frozen=True, eq=False)
class Asked:
    """Trained networks of one name as a method: states as `train_network` returns them, one or several members."""

    name: str
    settings: Settings
    shape: tuple[int, int]
    states: Sequence[Mapping[str, Any]]
    device: str = "cpu"

    @cached_property
    def models(self) -> list[nn.Module]:
        found = []
        for state in self.states:
            model = new_network(self.name, self.settings, self.shape)
            model.load_state_dict(dict(state["model"]))
            found.append(model.to(self.device).eval())
        return found

    def __call__(self, flux: np.ndarray, snr: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """flux, mask: (n, order, pixel), continuum 1, mask true where it was observed; snr: (n,)
        -> labels (n, 4), covariance (n, 4, 4) in their units. Of several members the mean, and their mean covariance
        plus that of their means."""
        means, covariances = [], []
        for model in self.models:
            output = torch.cat([part.cpu() for part in self._each(model, flux, snr, mask)])
            mean, covariance = physical(*gaussian(output))
            means.append(mean)
            covariances.append(covariance)
        mean = np.mean(means, axis=0)
        apart = np.array(means) - mean
        return mean, np.mean(covariances, axis=0) + np.einsum("mni,mnj->nij", apart, apart) / len(means)

    def maps(self, flux: np.ndarray, snr: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """(n, 3, order, pixel) attention of the first member, each map with sum one; of attention networks alone."""
        model = self.models[0]
        network = model.network if isinstance(model, Denoised) else model
        if not isinstance(network, AttentionNet):
            raise ConfigError(f"network {self.name!r}: has no attention maps; ask an attention network")

        def attended(x: Tensor, values: Tensor, there: Tensor) -> Tensor:
            if isinstance(model, Denoised):
                x, there = model.denoiser(x, values, there), torch.ones_like(there)
            return network.maps(x, there)

        return torch.cat([part.cpu() for part in self._each(attended, flux, snr, mask)]).numpy()

    def _each(
        self, function: Callable[..., Tensor], flux: np.ndarray, snr: np.ndarray, mask: np.ndarray
    ) -> list[Tensor]:
        require_spectra(f"network {self.name!r}", self.shape, flux, snr, mask)
        found, size = [], BATCH if torch.device(self.device).type == "cpu" else BATCH_ELSEWHERE
        with torch.no_grad(), single_thread():
            for start in range(0, len(flux), size):
                part = slice(start, start + size)
                there = torch.from_numpy(np.ascontiguousarray(mask[part], bool)).to(self.device)
                values = torch.from_numpy(np.ascontiguousarray(flux[part], np.float32)).to(self.device)
                ratio = torch.from_numpy(np.ascontiguousarray(snr[part], np.float32)).to(self.device)
                found.append(function(torch.where(there, values, 1.0), ratio, there))
        return found


def size_of(name: str, settings: Settings, shape: tuple[int, int]) -> tuple[int, int]:
    """Parameters of a network, and multiply-adds of its matrices and convolutions for one spectrum."""
    model = new_network(name, settings, shape).eval()
    flux, mask = torch.ones(1, *shape), torch.ones(1, *shape, dtype=torch.bool)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(flux, torch.ones(1), mask)
    return sum(p.numel() for p in model.parameters()), counter.get_total_flops() // 2


@dataclass(frozen=True, eq=False)
class _Phase:
    """A part of a fit: `samples` is called when it begins, when those before it are done."""

    name: str
    model: nn.Module
    samples: Callable[[], Samples]
    loss: Loss
    fitting: Fitting


@dataclass(frozen=True, eq=False)
class _Bank:
    """Projected spectra, drawn when they are first asked for."""

    model: SciMLNet
    source: Source
    settings: Settings
    seed: int
    device: str

    def __call__(self) -> ProjectedSamples:
        return self._drawn

    @cached_property
    def _drawn(self) -> ProjectedSamples:
        settings, epoch = self.settings, self.settings.estimating.spectra
        return projected_samples(
            self.model, self.source, settings.our_snr, settings.bank, epoch, self.seed, self.device
        )


def _phases(name: str, model: nn.Module, source: Source, settings: Settings, denoise: bool) -> list[_Phase]:
    def spectra(fitting: Fitting, snr: SNR, clean: bool = False) -> Callable[[], Samples]:
        return lambda: SpectrumSamples(source, snr, fitting.spectra, clean=clean)

    clean = spectra(settings.denoising, settings.snr, clean=True)
    if name == DENOISER:
        return [_Phase(DENOISER, model, clean, weighted_mse, settings.denoising)]
    fitted = _Phase(
        "network", model, spectra(settings.fitting, settings.snr), negative_log_likelihood, settings.fitting
    )
    if isinstance(model, Denoised) and denoise:
        model.denoiser.requires_grad_(True)
        return [_Phase(DENOISER, model.denoiser, clean, weighted_mse, settings.denoising), fitted]
    return [fitted]


def _fit(
    phases: Sequence[_Phase], seed: int, report: Report | None, resume: State | None, engine: Mapping[str, Any]
) -> State:
    """Fit one phase after another, from where `resume` was reported on."""
    names = [phase.name for phase in phases]
    if resume is not None and resume.get("phase") not in names:
        raise ConfigError(
            f"checkpoint: made in phase {resume.get('phase')!r}, this run has {', '.join(names)}; use the same"
            " configuration or another run directory"
        )
    at = 0 if resume is None else names.index(resume["phase"])
    before = sum(phase.fitting.epochs for phase in phases[:at])
    state: State = {}
    for phase in phases[at:]:
        told = None if report is None else _told(report, before, phase.name, last=phase is phases[-1])
        if isinstance(phase.model, Denoised):
            phase.model.denoiser.requires_grad_(phase.model.fine_tune)
        config = phase.fitting.config(engine.get("world_size", 1))
        seed_of_phase = seed_for(seed, phase.name)
        state = fit(
            phase.model,
            phase.samples(),
            config,
            seed=seed_of_phase,
            loss=phase.loss,
            report=told,
            resume=resume,
            **engine,
        )
        state["phase"] = phase.name
        before, resume = before + phase.fitting.epochs, None
    return state


def _told(report: Report, before: int, phase: str, last: bool) -> Report:
    """Epochs counted over all phases; the loss of an earlier phase by its name."""

    def tell(epoch: int, metrics: dict[str, float], state: State) -> None:
        named = metrics if last else {f"{phase}_{key}": value for key, value in metrics.items()}
        report(before + epoch, named, {**state, "phase": phase})

    return tell


def components_of(source: Source, settings: Settings, seed: int) -> Compression:
    """From noise-free spectra, drawn in blocks, and their derivatives where the source gives them. Pixels that none of
    them has are none of the projection's."""
    clean, block, used = [], 200, torch.zeros(source.shape, dtype=torch.bool)
    for start in range(0, settings.drawn, block):
        count = min(block, settings.drawn - start)
        drawn = draw(source, settings.our_snr, count, seed_for(seed, "components", start))[1]
        clean.append(drawn.clean)
        used |= drawn.mask.any(0).cpu()
    spectra = torch.where(used, torch.cat(clean).cpu(), 1.0)
    if not isinstance(source, Differentiable):
        return compression(spectra, settings.components)
    middle = math.sqrt(settings.our_snr.low * settings.our_snr.high)
    rows = []
    for start in range(0, settings.derivatives, DERIVATIVES):
        count = min(DERIVATIVES, settings.derivatives - start)
        generator = torch.Generator().manual_seed(seed_for(seed, "derivatives", start))
        rows.append(
            score_directions(torch.where(used, source.derivatives(generator, count).cpu(), 0.0), middle).float()
        )
    return compression(spectra, settings.components, torch.cat(rows))
