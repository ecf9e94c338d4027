"""Lists of spectral lines as CSV: one line of an atom, ion or molecule a row, with its damping.

Columns: species ("Fe 1"), wlcent [A in air], excit [eV], gflog, and the damping constants in VALD's convention: gamrad
[log10 rad s-1], gamqst [log10 rad s-1 per electron at 10000 K], gamvw [log10 rad s-1 per hydrogen atom at 10000 K, or a
cross section with its exponent]; 0 lets the synthesis approximate. atom_number and ionization count from VALD too.
"""

import io
from collections.abc import Sequence

import numpy as np
import pandas as pd

from sciml.core.errors import InputError
from sciml.core.urls import read_bytes
from sciml.data.readers.common import require_file

COLUMNS = ("species", "wlcent", "excit", "gflog", "gamrad", "gamqst", "gamvw", "atom_number", "ionization")
DAMPING = ("gamrad", "gamqst", "gamvw")


def read_linelist(url: str, span: tuple[float, float]) -> pd.DataFrame:
    """Lines (a row each, COLUMNS and `reference`) by wavelength. span: wavelengths [A] of which some must be covered.

    Raises InputError for missing columns (the damping among them), values that are no numbers, and a list of other
    wavelengths.
    """
    require_file(url)
    try:
        table = pd.read_csv(io.BytesIO(read_bytes(url)), compression="gzip" if url.endswith(".gz") else None)
    except (ValueError, OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(
            f"{url}: no readable CSV ({' '.join(str(error).split())[:120]}); expected a line list"
        ) from error
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        what = "damping constants " if set(missing) <= set(DAMPING) else "columns "
        raise InputError(
            f"{url}: {what}{', '.join(missing)} missing; found {', '.join(map(str, table.columns))}; without damping"
            " strong lines have no wings and gravities come out wrong"
        )
    for name in COLUMNS[1:]:
        values = pd.to_numeric(table[name], errors="coerce")
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values))[0])
            raise InputError(
                f"{url}: {name}: row {row} ({table['species'][row]} at {table['wlcent'][row]} A) has"
                f" {str(table[name][row])!r}, expected a number (0 where the damping is to be approximated)"
            )
        table[name] = values
    if not table["wlcent"].between(*span).any():
        raise InputError(
            f"{url}: wlcent: lines from {table['wlcent'].min():.1f} to {table['wlcent'].max():.1f} A, expected some in"
            f" {span[0]:.0f}-{span[1]:.0f} A"
        )
    if "reference" not in table:
        table["reference"] = ""
    return table[[*COLUMNS, "reference"]].sort_values("wlcent", kind="stable", ignore_index=True)


def strongest(table: pd.DataFrame, species: Sequence[str], count: int) -> pd.DataFrame:
    """The `count` lines of some species with the largest log gf - excitation at 5000 K: where to look for them."""
    part = table[table["species"].isin(species)]
    strength = part["gflog"] - part["excit"] * 5040.0 / 5000.0
    return part.loc[strength.sort_values(ascending=False).index[:count]].sort_values("wlcent", ignore_index=True)
