"""What Hüttel and Clemmensen print: tables 2, 3 and 4 of "Consistent and accurate estimation of stellar parameters from
HARPS-N spectroscopy using deep learning"."""

from dataclasses import dataclass

METHODS = {
    "resnet": "residual network",
    "attention": "attention network",
    "dae_resnet": "DAE + residual network",
    "dae_attention": "DAE + attention network",
    "resnet_full": "residual network, full covariance",
    "attention_full": "attention network, full covariance",
    "dae_resnet_full": "DAE + residual network, full covariance",
    "dae_attention_full": "DAE + attention network, full covariance",
    "sciml": "sciml",
    "chi2": "χ² fit with the emulator",
    "ridge": "ridge regression on PCA",
}
SHORT = {  # in figures
    "resnet": "residual net",
    "attention": "attention net",
    "dae_resnet": "DAE + residual net",
    "dae_attention": "DAE + attention net",
    "resnet_full": "residual net, full",
    "attention_full": "attention net, full",
    "dae_resnet_full": "DAE + residual net, full",
    "dae_attention_full": "DAE + attention net, full",
    "sciml": "sciml",
    "chi2": "χ² fit",
    "ridge": "ridge on PCA",
}
NETWORKS = tuple(name for name in METHODS if name not in ("chi2", "ridge"))
OURS = ("sciml", "chi2", "ridge")  # without a row in the paper


@dataclass(frozen=True)
class PaperRow:
    """A row of table 2: mean absolute errors of LABELS, None where none is printed. experiment, method: where ours
    stands, empty for other authors' rows."""

    snr: int
    title: str
    values: tuple[float | None, ...]
    experiment: str = ""
    method: str = ""


MEAN_ABSOLUTE_ERRORS = (
    PaperRow(20, METHODS["resnet"], (76.9, 0.138, 0.055, 0.71), "snr20", "resnet"),
    PaperRow(20, METHODS["attention"], (73.0, 0.135, 0.053, 0.69), "snr20", "attention"),
    PaperRow(20, METHODS["dae_resnet"], (72.3, 0.133, 0.052, 0.67), "snr20", "dae_resnet"),
    PaperRow(20, METHODS["dae_attention"], (70.9, 0.134, 0.049, 0.57), "snr20", "dae_attention"),
    PaperRow(20, METHODS["resnet_full"], (83.8, 0.143, 0.060, 0.75), "snr20", "resnet_full"),
    PaperRow(20, METHODS["attention_full"], (79.2, 0.146, 0.055, 0.72), "snr20", "attention_full"),
    PaperRow(20, METHODS["dae_resnet_full"], (89.1, 0.150, 0.060, 0.72), "snr20", "dae_resnet_full"),
    PaperRow(20, METHODS["dae_attention_full"], (72.9, 0.137, 0.049, 0.58), "snr20", "dae_attention_full"),
    PaperRow(200, "Cannon2 (other data)", (46.8, 0.066, 0.036, None)),
    PaperRow(200, "StarNet (other data)", (31.2, 0.053, 0.025, None)),
    PaperRow(100, f"{METHODS['resnet']}, 4000–6000 K", (19.5, 0.053, 0.026, 0.30), "snr100_limited", "resnet"),
    PaperRow(100, f"{METHODS['attention']}, 4000–6000 K", (12.9, 0.045, 0.013, 0.15), "snr100_limited", "attention"),
)
COVERAGE = {"resnet": (0.799, 0.984), "attention": (0.655, 0.934)}  # within one and two standard deviations, SNR 20
# answers for the Sun, trained at SNR 100: mean and standard deviation
SUN = (
    ("catalogue of the paper", (5750.0, 4.44, 0.0, 2.0), None),
    ("residual network of the paper", (5791.6, 4.72, 0.035, 0.762), (140.1, 0.28, 0.15, 1.76)),
    ("attention network of the paper", (5325.2, 2.15, -0.576, 5.226), (10.0, 0.04, 0.01, 0.40)),
)
