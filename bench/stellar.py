"""What spectra cost: emulated ones beside direct broadening in SciPy, networks a second, the share of drawing in steps.

    python bench/stellar.py [--spectra 256]

The peer broadens one stored model after another as scripts do: a rotation kernel and a Gaussian by `scipy.signal`'s FFT
convolution, a cubic spline to the pixels; it has no synthesis to do. CPU time of one thread, of alternating rounds the
fastest. The emulator is that of 1,000 generated models, on 8 x 4096 pixels; speed does not depend on what the lines
are. Networks of preset small, untrained: time does not know.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from scipy.signal import fftconvolve

from sciml.generated.spectra import LineModel
from sciml.nn.training import single_thread
from sciml.stellar.emulator import EmulatorSettings, fit_emulator
from sciml.stellar.emulator_check import spectra_per_second
from sciml.stellar.forward import ForwardModel
from sciml.stellar.grid import ModelBlock, ModelSpectra, PointSet, Synthesise
from sciml.stellar.harpsn import harpsn
from sciml.stellar.labels import draw
from sciml.stellar.networks import NETS, PRESETS, Asked, new_network, train_network
from sciml.stellar.observation import PRESETS as OBSERVATIONS
from sciml.stellar.observation import Observer
from sciml.stellar.samples import BLOCK, SpectrumSamples
from sciml.stellar.source import DrawnStars
from sciml.stellar.wavelengths import GRID, SPEED_OF_LIGHT

ROUNDS = 3
MODELS = 1000
LEAST_ASKED, MOST_DRAWING = 500.0, 0.10  # spectra a second on two cores; share of a training step


def models() -> ModelSpectra:
    points = PointSet("sobol", MODELS, 0)
    made = Synthesise(points, LineModel(0))(ModelBlock(0, MODELS))
    return ModelSpectra(points.parameters(), made["flux"], made["limb_darkening"].astype(float))


def broadened(flux: np.ndarray, vsini: float, epsilon: float, wave: np.ndarray) -> np.ndarray:
    """One spectrum as a script makes it: Gray's kernel, the instrument's Gaussian, a spline to pixels."""
    step = GRID.velocity_step
    half = int(np.ceil(max(vsini, step) / step))
    u = np.arange(-half, half + 1) * step / max(vsini, step)
    inside = np.maximum(1 - u**2, 0.0)
    kernel = 2 * (1 - epsilon) * np.sqrt(inside) + np.pi / 2 * epsilon * inside
    sigma = SPEED_OF_LIGHT / 115_000 / 2.3548 / step
    gauss = np.exp(-0.5 * (np.arange(-12, 13) / sigma) ** 2)
    for profile in (kernel / kernel.sum(), gauss / gauss.sum()):
        flux = 1 - fftconvolve(1 - flux, profile, mode="same")
    return CubicSpline(GRID.wave, flux)(wave)


def fastest(*works: Callable[[], object]) -> list[float]:
    """CPU seconds of each, the least of alternating rounds."""
    for work in works:
        work()
    rounds = []
    for _ in range(ROUNDS):
        row = []
        for work in works:
            began = time.process_time()
            work()
            row.append(time.process_time() - began)
        rounds.append(row)
    return np.min(rounds, axis=0).tolist()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--spectra", type=int, default=256)
    count = parser.parse_args(argv).spectra
    held = models()
    forward = ForwardModel(fit_emulator(held, EmulatorSettings(searched=300), 0), harpsn().pixels).eval()
    stars = torch.from_numpy(draw(count, 1, "nuisance"))
    wave = harpsn().wave

    def emulated() -> None:
        with torch.no_grad():
            forward(stars)

    def scripted() -> None:
        for i in range(count):
            broadened(held.flux[i], float(stars[i, 3]), float(held.epsilon[i]), wave)

    with single_thread():
        ours, theirs = fastest(emulated, scripted)
    print(f"emulator to pixels      {count / ours:8.0f} spectra/s of a core, {theirs / ours:.1f} x direct broadening")
    print(f"                        {spectra_per_second(forward):8.0f} spectra/s of all cores (asked: 2,000)")
    if torch.cuda.is_available():
        print(
            f"                        {spectra_per_second(forward, 'cuda'):8.0f} spectra/s of the GPU (asked: 100,000)"
        )
        forward.to("cpu")
    source = DrawnStars(forward, Observer(OBSERVATIONS["paper"], harpsn()))
    spectra = np.ones((64, *wave.shape), np.float32), np.full(64, 20.0), np.ones((64, *wave.shape), bool)
    settings = PRESETS["small"]
    for name in NETS:
        if name.endswith("_full"):
            continue
        state = {"model": new_network(name, settings, wave.shape).state_dict()}
        method = Asked(name, settings, wave.shape, [state])

        def asked(method: Asked = method) -> None:
            method(*spectra)

        with single_thread():
            (spent,) = fastest(asked)
        print(f"{name:<22}  {2 * len(spectra[0]) / spent:8.0f} spectra/s of two cores (asked: {LEAST_ASKED:.0f})")
    share = drawing(source)
    print(f"drawing of a batch      {share:8.1%} of a step of resnet (asked: less than {MOST_DRAWING:.0%})")
    return 0


def drawing(source: DrawnStars) -> float:
    """CPU time of drawing an epoch over that of a training on it."""
    made, spectra = PRESETS["small"], 2 * BLOCK
    settings = replace(made, fitting=replace(made.fitting, epochs=1, spectra=spectra))
    samples = SpectrumSamples(source, settings.snr, spectra)

    def draw_batches() -> None:
        for _ in samples.batches(torch.arange(spectra).split(settings.fitting.batch_size)):
            pass

    def step() -> None:
        train_network("resnet", source, settings, 0)

    with single_thread():
        drawn, stepped = fastest(draw_batches, step)
    return drawn / stepped


if __name__ == "__main__":
    sys.exit(main())
