"""What the page of a run is made of: its experiments' findings, the paper's tables, the emulator, other SNRs."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sciml.report.page import Section, provenance
from sciml.report.results import Finding
from sciml.stellar import report
from sciml.stellar.config import StellarConfig
from sciml.stellar.experiments import Setup, training_snr
from sciml.stellar.results import Results
from sciml.stellar.scores import summarise

_MEAN_SIZE = np.sqrt(2 / np.pi)  # of a Gaussian's values, over its deviation
RESAMPLES = 1000


def finding(setup: Setup, results: Results, seed: int, scored: Mapping[str, Mapping[str, Any]]) -> Finding:
    """Scores on direct syntheses at continuous labels, beside those at the grid's nodes where there are any. scored:
    further keys of each method."""
    chosen, stars = setup.experiment, results.stars
    truth = results.truth("continuous")
    nodes = (results.truth("node"), results.calibrated("node")) if len(stars.where("node")) else None
    models = len(np.unique(truth.model))
    told = [
        f"Scored on {len(truth):,} spectra of {models:,} direct syntheses at continuous labels,"
        f" {len(truth) / models:.0f} rotations each, SNR {chosen.snr:g}; sigmas calibrated on"
        f" {results.calibrated_on:,} spectra of their own. The χ² fit knows how the spectra were made;"
        " nothing can beat it by much.",
    ]
    return report.finding(
        chosen.name,
        truth,
        results.calibrated("continuous"),
        told,
        nodes=nodes,
        scored=scored,
        resamples=RESAMPLES,
        seed=seed,
    )


def other_snr_section(setup: Setup, results: Results, found: Finding, seed: int) -> Section:
    """Errors at SNRs that the paper's networks were not trained on."""
    curves: dict[str, dict[float, Any]] = {name: {setup.experiment.snr: s} for name, s in found.scores.items()}
    best = {setup.experiment.snr: results.truth("continuous").bayes.mean(0) * _MEAN_SIZE}
    for snr in np.unique(results.stars.snr[results.stars.where("other_snr")]).tolist():
        truth = results.truth("other_snr", snr)
        best[snr] = truth.bayes.mean(0) * _MEAN_SIZE
        for name, summary in summarise(
            truth, results.calibrated("other_snr", snr), resamples=RESAMPLES // 4, seed=seed
        ).items():
            curves[name][snr] = summary
    return report.snr_section(curves, setup.experiment.snr, best, setup.experiment.name)


def closing_sections(findings: Mapping[str, Finding], setup: Setup) -> list[Section]:
    """The paper's tables, and what the numbers do not say."""
    snr = training_snr(setup.experiment)
    notes = [f"sciml is told the SNR and was trained at {snr.low:.3g} to {snr.high:.3g}."]
    return [
        report.paper_section({name: found.scores for name, found in findings.items()}),
        report.limits_section(notes),
    ]


def facts(
    config: StellarConfig, stores: Mapping[str, str], data: Mapping[str, str], results: Mapping[str, Results]
) -> dict[str, Any]:
    """Provenance of the page and of metrics.json. results: experiment -> its results."""
    return provenance(
        data=data,
        split={"test": "syntheses at labels of their own, in no training", "calibration": "emulated stars"},
        sample_size={f"spectra of {name}": len(found.truth("continuous")) for name, found in results.items()},
        seed=config.seed,
        stores=stores,
        config=config.model_dump(mode="json"),
        packages=("sciml", "numpy", "scipy", "torch", "xarray", "zarr", "ray", "astropy", "pysme-astro"),
    )
