"""What a training run leaves for others: RUN/models.json, its files named relative to the run directory."""

import contextlib
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError

from sciml.core.digest import digest, fingerprint
from sciml.core.errors import InputError
from sciml.core.urls import exists, join, read_bytes, write_bytes
from sciml.nn.checkpoint import load_checkpoint
from sciml.stellar.calibration import Calibration
from sciml.stellar.emulator import Emulator, load_emulator
from sciml.stellar.experiments import Setup, lines_span, spectrograph_of
from sciml.stellar.network_view import TrainedNetwork
from sciml.stellar.networks import NETS, OURS, Asked, Settings
from sciml.stellar.observation import PRESETS

MODELS = "models.json"  # in the run directory
VERSION = 1  # of its layout
SPECTROGRAPH = "spectrograph.npz"  # beside it, where the run's was a file
BUILT_IN = ("harpsn", "generated")
OBSERVED = "observed"  # the experiment that is nearest to real spectra
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Network:
    """name: method. checkpoints: of its members. calibration: as `Calibration.to_json`, of its sigmas."""

    name: str
    settings: Settings
    checkpoints: tuple[str, ...]
    calibration: dict[str, Any]


@dataclass(frozen=True)
class Trained:
    """The networks of an experiment. total: whether stars rotated and nothing else broadened their lines, so that v sin
    i is total broadening. renormalise: whether orders were divided by an estimate of the continuum. span: [A] first and
    last wavelength that counted. teff: [K] of its stars. snr: at which networks were trained that are not told it;
    our_snr: range of the one that is."""

    experiment: str
    total: bool
    renormalise: bool
    span: tuple[float, float]
    teff: tuple[float, float]
    snr: tuple[float, float]
    our_snr: tuple[float, float]
    networks: tuple[Network, ...]


@dataclass(frozen=True)
class TrainedRun:
    """source: of the model spectra, generated or atlas9. emulator: its checkpoint. spectrograph: one of BUILT_IN or a
    file. lines: [A] first and last wavelength at which model spectra have a line. Files relative to the run directory.
    """

    __pydantic_config__ = _STRICT

    source: str
    emulator: str
    spectrograph: str
    lines: tuple[float, float]
    experiments: tuple[Trained, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"version": VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, values: Any, place: str) -> "TrainedRun":
        """What `to_json` wrote. Raises InputError that names the place for anything else."""
        if not isinstance(values, dict) or values.get("version") != VERSION:
            found = values.get("version") if isinstance(values, dict) else type(values).__name__
            raise InputError(
                f"{place}: found version {found!r}, expected {VERSION}; it was written by another version of this"
                " program: train again"
            )
        try:
            return _READER.validate_json(json.dumps({key: x for key, x in values.items() if key != "version"}))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise InputError(
                f"{place}: {where}: {first['msg']}; it is damaged or of another version: train again"
            ) from error

    @property
    def files(self) -> list[str]:
        """Everything that the run directory must hold."""
        beside = [] if self.spectrograph in BUILT_IN else [self.spectrograph]
        nets = [file for one in self.experiments for network in one.networks for file in network.checkpoints]
        return [self.emulator, *beside, *nets]

    @property
    def chosen(self) -> Trained | None:
        """The experiment whose networks are asked about real stars: `observed`, else the first with networks."""
        there = [one for one in self.experiments if one.networks]
        return next((one for one in there if one.experiment == OBSERVED), there[0] if there else None)


_READER = TypeAdapter(TrainedRun)


def trained_on(
    setup: Setup,
    settings: Settings,
    checkpoints: Mapping[str, Sequence[str]],
    calibrations: Mapping[str, Calibration],
) -> Trained:
    """An experiment's networks. checkpoints: method -> those of its members; what is no network is left out."""
    chosen, observation = setup.experiment, PRESETS[setup.experiment.observation]
    wave = spectrograph_of(setup.spectrograph).wave[setup.used()]
    return Trained(
        experiment=chosen.name,
        total=chosen.prior == "paper",
        renormalise=observation.renormalise,
        span=(float(wave.min()), float(wave.max())),
        teff=chosen.teff,
        snr=(settings.snr.low, settings.snr.high),
        our_snr=(settings.our_snr.low, settings.our_snr.high),
        networks=tuple(
            Network(name, settings, tuple(_relative(file) for file in files), calibrations[name].to_json())
            for name, files in checkpoints.items()
            if name in NETS
        ),
    )


def publish(run_url: str, source: str, setup: Setup, experiments: Sequence[Trained]) -> None:
    """Write what other runs need: the spectrograph's file where it is one, then RUN/models.json."""
    built_in = setup.spectrograph in BUILT_IN
    if not built_in:
        write_bytes(join(run_url, SPECTROGRAPH), read_bytes(setup.spectrograph))
    trained = TrainedRun(
        source,
        _relative(setup.emulator),
        setup.spectrograph if built_in else SPECTROGRAPH,
        lines_span(setup.nodes),
        tuple(experiments),
    )
    write_bytes(join(run_url, MODELS), json.dumps(trained.to_json(), indent=1, allow_nan=False).encode())


def _relative(checkpoint: str) -> str:
    """Place below the run directory."""
    return "/".join(checkpoint.rsplit("/", 2)[1:])


def read_trained(url: str) -> TrainedRun:
    """What a run directory, a path or s3:// URL, says of its networks. Raises InputError where it is none."""
    file = join(url, MODELS)
    if not exists(file):
        raise InputError(
            f"{url}: no {MODELS} found, expected the run directory of a finished training by stellar_parameters; give"
            " that as --checkpoint, or run the training's command again, which writes the file"
        )
    try:
        values = json.loads(read_bytes(file))
    except ValueError as error:
        raise InputError(f"{file}: not readable as JSON ({error}); run the training's command again") from error
    trained = TrainedRun.from_json(values, file)
    for name in trained.files:
        if not exists(join(url, name)):
            raise InputError(f"{join(url, name)}: no such file, but {file} names it; run the training's command again")
    return trained


def identity(url: str) -> str:
    """Digest of all that answers depend on: what models.json says and the files it names, wherever they lie."""
    trained = read_trained(url)
    return digest([trained.to_json(), [fingerprint(join(url, name)) for name in trained.files]])


@functools.lru_cache(maxsize=1)
def load_tools(url: str, _identity: str) -> tuple[Emulator, tuple[TrainedNetwork, ...]]:
    """The emulator and the networks to be asked about real stars; loaded anew where the identity is another. Raises
    InputError."""
    trained = read_trained(url)
    with _of_this_version(join(url, trained.emulator)):
        emulator = load_emulator(load_checkpoint(join(url, trained.emulator))["model"])
    if trained.chosen is None:
        return emulator, ()
    return emulator, tuple(_network(url, trained, trained.chosen, one) for one in trained.chosen.networks)


@contextlib.contextmanager
def _of_this_version(place: str) -> Iterator[None]:
    """Say in one line that a checkpoint has other tensors than this program's networks."""
    try:
        yield
    except (RuntimeError, KeyError) as error:  # what torch raises for names and shapes
        raise InputError(
            f"{place}: other tensors than expected ({' '.join(str(error).split())[:160]}); it was written by another"
            " version of this program: train again"
        ) from error


def _network(url: str, trained: TrainedRun, experiment: Trained, network: Network) -> TrainedNetwork:
    built_in = trained.spectrograph in BUILT_IN
    spectrograph = spectrograph_of(trained.spectrograph if built_in else join(url, trained.spectrograph))
    states = [load_checkpoint(join(url, file)) for file in network.checkpoints]
    wave = spectrograph.wave
    ask = Asked(network.name, network.settings, wave.shape, states)
    with _of_this_version(join(url, network.checkpoints[0])):
        ask.models  # noqa: B018 (made now, to be refused here and not at the first star)
    used = (wave >= experiment.span[0]) & (wave <= experiment.span[1])
    return TrainedNetwork(
        network.name,
        ask,
        spectrograph,
        None if bool(np.all(used)) else used,
        experiment.renormalise,
        experiment.our_snr if network.name == OURS else experiment.snr,
        experiment.total,
        Calibration.from_json(network.calibration),
        experiment.teff,
    )
