"""ATLAS9 files written to the format's layout, with layers that are simple functions of the labels."""

import numpy as np

LAYERS = 72


def layers(teff: float, logg: float, feh: float) -> np.ndarray:
    """(72, 4): column mass, temperature, gas pressure, electron density; their logarithms are linear in the labels."""
    depth = np.linspace(-6.875, 2.0, LAYERS)
    mass = 10 ** (0.6 * depth + 0.4 - 0.2 * feh - 0.3 * (logg - 4))
    temperature = teff * 10 ** (0.05 * depth) * 10 ** (-0.004 * feh)
    pressure = mass * 10**logg
    return np.stack([mass, temperature, pressure, pressure * 1e11 * 10 ** (0.3 * feh)], 1)


def model_text(teff: float, logg: float, feh: float, vturb: float = 2.0, alpha: str = "", count: int = LAYERS) -> str:
    """One model as Kurucz's programs write it."""
    rows = [
        f"{m:.8E}  {t:7.1f} {p:.3E} {e:.3E} 1.000E-04 1.000E-02 {vturb * 1e5:.3E} 0.000E+00 0.000E+00 1.000E+05"
        for m, t, p, e in layers(teff, logg, feh)[:count]
    ]
    return "\n".join(
        [
            f"TEFF   {teff:.0f}.  GRAVITY {logg:.5f} LTE",
            f"TITLE  [{feh:+.1f}{alpha}] VTURB={vturb:.1f}  L/H=1.25 NOVER NEW ODF",
            "OPACITY IFOP 1 1 1 1 1 1 1 1 1 1 1 1 1 0 1 0 0 0 0 0",
            f"ABUNDANCE SCALE   {10**feh:.5f} ABUNDANCE CHANGE 1 0.92040 2 0.07834",
            f"READ DECK6 {LAYERS} RHOX,T,P,XNE,ABROSS,ACCRAD,VTURB, FLXCNV,VCONV,VELSND",
            *rows,
            "PRADK 1.4604E+00",
            "BEGIN                    ITERATION  15 COMPLETED",
            "",
        ]
    )


def name_of(teff: float, logg: float, feh: float) -> str:
    sign = "m" if feh < 0 else "p"
    return f"{sign}{abs(feh) * 10:02.0f}_{teff:.0f}_{logg:.1f}.dat"
