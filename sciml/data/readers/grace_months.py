"""The list of real GRACE months: a CSV file `time,start,end`, one record a line."""

import io

import numpy as np
import pandas as pd

from sciml.core.errors import InputError
from sciml.core.urls import read_bytes
from sciml.data.months import Records, records


def read(file: str) -> Records:
    """Records of a month list. Columns `start` and `end` are dates or times, the end exclusive; `time` is not used.

    Raises InputError for a missing file, missing columns, unreadable dates, or identical records.
    """
    raw = read_bytes(file)
    try:
        table = pd.read_csv(io.BytesIO(raw), dtype=str)
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(
            f"{file}: no CSV table ({' '.join(str(error).split())[:120]}); expected columns time,start,end"
        ) from error
    missing = [name for name in ("start", "end") if name not in table.columns]
    if missing:
        raise InputError(
            f"{file}: column {', '.join(missing)} missing; "
            f"found {', '.join(map(str, table.columns))}; expected time,start,end"
        )
    bounds = []
    for name in ("start", "end"):
        parsed = pd.to_datetime(table[name], errors="coerce", format="ISO8601")
        if parsed.isna().any():
            row = int(np.flatnonzero(parsed.isna())[0])
            raise InputError(
                f"{file}: column '{name}', line {row + 2}: found {table[name][row]!r}, expected a date YYYY-MM-DD"
            )
        bounds.append(parsed.to_numpy())
    return records(bounds[0], bounds[1], file=file)
