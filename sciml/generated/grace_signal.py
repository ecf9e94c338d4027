"""What a gravity mission would have seen: its months, its blur, its noise."""

import numpy as np

from sciml.data.months import Records, records
from sciml.generated.fields import modes

# Months without a solution (GRACE and GRACE-FO, RL06; the mission's own list of gaps).
MISSING = {
    "2002": (6, 7),
    "2003": (6,),
    "2011": (1, 6),
    "2012": (5, 10),
    "2013": (3, 8, 9),
    "2014": (2, 7, 12),
    "2015": (6, 10, 11),
    "2016": (4, 9, 10),
    "2017": (2, 7, 8, 9, 10, 11, 12),
    "2018": (1, 2, 3, 4, 5, 8, 9),
}


# Solutions whose days are not those of their month, [first, last], as the products' file names give them: weeks without
# data, and the shifted and overlapping windows of the years when the batteries failed.
SHIFTED = {
    "2002-04": ("2002-04-04", "2002-04-30"),
    "2002-05": ("2002-05-02", "2002-05-18"),
    "2003-05": ("2003-05-01", "2003-05-21"),
    "2004-01": ("2004-01-01", "2004-01-13"),
    "2004-02": ("2004-02-04", "2004-02-29"),
    "2011-02": ("2011-02-08", "2011-02-28"),
    "2011-11": ("2011-10-17", "2011-11-16"),
    "2011-12": ("2011-12-17", "2012-01-15"),
    "2012-11": ("2012-11-06", "2012-11-30"),
    "2013-04": ("2013-04-11", "2013-04-30"),
    "2014-01": ("2014-01-01", "2014-01-17"),
    "2015-05": ("2015-04-12", "2015-05-11"),
    "2015-12": ("2015-12-12", "2016-01-03"),
    "2016-01": ("2016-01-04", "2016-01-28"),
    "2016-02": ("2016-01-29", "2016-02-29"),
    "2016-05": ("2016-05-08", "2016-05-31"),
    "2016-08": ("2016-08-08", "2016-09-03"),
    "2016-11": ("2016-11-14", "2016-12-10"),
    "2016-12": ("2016-12-11", "2017-01-06"),
    "2017-01": ("2017-01-07", "2017-02-03"),
    "2017-03": ("2017-03-17", "2017-04-14"),
    "2017-04": ("2017-04-10", "2017-05-08"),
    "2017-05": ("2017-05-02", "2017-05-22"),
    "2017-06": ("2017-05-23", "2017-06-29"),
    "2018-07": ("2018-07-01", "2018-07-18"),
    "2018-10": ("2018-10-22", "2018-11-09"),
    "2019-02": ("2019-01-26", "2019-03-04"),
}


def mission_records(first: str = "2002-04", stop: str = "2021-09") -> Records:
    """Bounds of the solutions whose nominal month lies in [first, stop)."""
    months = [str(m) for m in np.arange(np.datetime64(first, "M"), np.datetime64(stop, "M"))]
    months = [m for m in months if int(m[5:]) not in MISSING.get(m[:4], ())]
    whole = {m: (np.datetime64(m, "D"), (np.datetime64(m, "M") + 1).astype("datetime64[D]")) for m in months}
    shifted = {m: (np.datetime64(a), np.datetime64(b) + 1) for m, (a, b) in SHIFTED.items() if m in whole}
    bounds = np.array(list((whole | shifted).values()))
    order = np.argsort(bounds.astype(np.int64).sum(axis=1), kind="stable")
    return records(bounds[order, 0], bounds[order, 1], file="months of the mission")


def noise(
    latitude: np.ndarray,
    longitude: np.ndarray,
    sigma: np.ndarray,
    rng: np.random.Generator,
    *,
    length_km: float = 250.0,
) -> np.ndarray:
    """Errors of the solutions, correlated in space, new each record. sigma: (record,) [mm] -> (record, cell) [mm]."""
    pattern = modes(latitude, longitude, length_km)
    return sigma[:, None] * (rng.standard_normal((len(sigma), pattern.shape[1])) @ pattern.T)
