"""How well an emulator gives back the land model it was fitted to: scores of each unit and variable.

nse (Nash & Sutcliffe 1970), skill over climatology ss = 1 - MSE / MSE(climatology), kge and its parts (Gupta et al.
2009, doi:10.1016/j.jhydrol.2009.08.003), bias, and timing: by how many days the emulator is late.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from sciml.land.forcing import Targets

SMOOTHED_DAYS = 15  # of the climatology
LEAST_SNOW = 20.0  # mean annual maximum below which snow is not scored [kg m-2]
LONGEST_LAG = 15  # days
FEWEST_DAYS = 365
DAYS = 366


def day_of_year(dates: np.ndarray) -> np.ndarray:
    """0 for 1 January to 365, 29 February among them: the same number is the same date in every year."""
    months = dates.astype("datetime64[M]")
    day = (dates.astype("datetime64[D]") - months.astype("datetime64[D]")).astype(int)
    before = np.cumsum([0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30])
    return before[months.astype(int) % 12] + day


def climatology(values: np.ndarray, dates: np.ndarray, training: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Mean of each date over the training days, smoothed over 15 days around the year, on the dates `at`.

    values: (time, cell); training: (time,) bool -> (len(at), cell), NaN where no training day is near.
    """
    place, known = day_of_year(dates[training]), np.isfinite(values[training])
    sums, counts = np.zeros((2, DAYS, values.shape[1]))
    np.add.at(sums, place, np.where(known, values[training], 0.0))
    np.add.at(counts, place, known)
    half = SMOOTHED_DAYS // 2
    shifts = range(-half, half + 1)
    # means of days first: 29 February counts as much as any other date
    mean = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
    total = sum(np.roll(mean, shift, axis=0) for shift in shifts)
    near = sum(np.roll((counts > 0).astype(float), shift, axis=0) for shift in shifts)
    smooth = np.divide(total, near, out=np.full_like(sums, np.nan), where=near > 0)
    return smooth[day_of_year(at)]


def anomaly_variance(targets: Targets, training: np.ndarray) -> dict[str, np.ndarray]:
    """Mean square of each target about its climatology over the training days, (cell,)."""
    found = {}
    for name, values in targets.values.items():
        usual = climatology(values, targets.dates, training, targets.dates[training])
        found[name] = mean_of((values[training] - usual) ** 2, np.isfinite(values[training]))
    return found


def mean_of(values: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """(cell,) mean over the days that are kept, NaN where there is none."""
    count = keep.sum(axis=0)
    total = np.where(keep, values, 0.0).sum(axis=0)
    return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)


def snowy(snow: np.ndarray, dates: np.ndarray, training: np.ndarray) -> np.ndarray:
    """(cell,) whether the mean of the annual maxima of the training years is above LEAST_SNOW. snow: (time, cell)."""
    years = dates[training].astype("datetime64[Y]")
    values = np.nan_to_num(snow[training], nan=-np.inf)
    highest = np.array([values[years == year].max(axis=0) for year in np.unique(years)])
    return np.where(np.isfinite(highest), highest, 0.0).mean(axis=0) > LEAST_SNOW


def score(observed: np.ndarray, predicted: np.ndarray, usual: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of one variable, each (cell,): n, nse, ss, kge, r, bias, variability, lag_days.

    observed, predicted, usual (climatology): (time, cell), scored where all three are finite. NaN for a cell with fewer
    than FEWEST_DAYS or without any variance.
    """
    keep = np.isfinite(observed) & np.isfinite(predicted) & np.isfinite(usual)
    n = keep.sum(axis=0)
    mean_o, mean_p = mean_of(observed, keep), mean_of(predicted, keep)
    mse = mean_of((predicted - observed) ** 2, keep)
    variance_o, variance_p = mean_of((observed - mean_o) ** 2, keep), mean_of((predicted - mean_p) ** 2, keep)
    covariance = mean_of((observed - mean_o) * (predicted - mean_p), keep)
    enough = (n >= FEWEST_DAYS) & (variance_o > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        r = covariance / np.sqrt(variance_o * variance_p)
        spread, level = np.sqrt(variance_p / variance_o), mean_p / mean_o
        found = {
            "nse": 1.0 - mse / variance_o,
            "ss": 1.0 - mse / mean_of((usual - observed) ** 2, keep),
            "kge": 1.0 - np.sqrt((r - 1.0) ** 2 + (spread - 1.0) ** 2 + (level - 1.0) ** 2),
            "r": r,
            "bias": mean_p - mean_o,
            "variability": spread,
            "lag_days": _lag(observed, predicted, usual, keep),
        }
    return {"n": n} | {key: np.where(enough & np.isfinite(value), value, np.nan) for key, value in found.items()}


def _lag(observed: np.ndarray, predicted: np.ndarray, usual: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Days by which the prediction, less the season, is late: where its correlation with the truth is highest."""
    o, p = (np.where(keep, values - usual, 0.0) for values in (observed, predicted))
    days, best = len(o), np.full((2, o.shape[1]), -np.inf)
    for lag in range(-LONGEST_LAG, LONGEST_LAG + 1):
        late, on_time = p[max(lag, 0) : days + min(lag, 0)], o[max(-lag, 0) : days + min(-lag, 0)]
        size = np.sqrt((late**2).sum(axis=0) * (on_time**2).sum(axis=0))
        r = np.divide((late * on_time).sum(axis=0), size, out=np.full(len(size), -np.inf), where=size > 0)
        better = r > best[0]
        best[0], best[1] = np.where(better, r, best[0]), np.where(better, lag, best[1])
    return best[1]


def table(
    experiment: str,
    targets: Targets,
    runs: Mapping[str, Mapping[str, np.ndarray]],
    training: np.ndarray,
    tested: np.ndarray,
    names: tuple[str, ...],
) -> pd.DataFrame:
    """Rows (experiment, model, unit, variable, n, scores) of each model's free run, climatology among them.

    runs: model -> variable -> (time, cell); training, tested: (time,) bool. A variable is scored for the models that
    give it, snow where there is enough of it.
    """
    frames = []
    for variable, observed in targets.values.items():
        usual = climatology(observed, targets.dates, training, targets.dates[tested])
        counted = snowy(observed, targets.dates, training) if variable == "snow" else np.full(len(names), True)
        for model, found in {**runs, "climatology": None}.items():
            if found is not None and variable not in found:
                continue
            predicted = usual if found is None else found[variable][tested]
            scored = score(observed[tested], predicted, usual)
            frame = pd.DataFrame({"experiment": experiment, "model": model, "unit": list(names), "variable": variable})
            frames.append(frame.assign(**scored)[counted & (scored["n"] >= FEWEST_DAYS)])
    return pd.concat(frames, ignore_index=True)


def summary(scores: pd.DataFrame) -> dict[str, dict[str, object]]:
    """model -> `<score>_<variable>`, the median over units, with `units`: unit -> the same; and n, how many units."""
    found: dict[str, dict[str, object]] = {}
    keys = [name for name in scores.columns if name not in ("experiment", "model", "unit", "variable", "n")]
    for model, rows in scores.groupby("model", sort=False):
        units = {
            str(unit): {f"{key}_{row.variable}": _number(getattr(row, key)) for row in of.itertuples() for key in keys}
            for unit, of in rows.groupby("unit", sort=False)
        }
        medians = rows.groupby("variable")[keys].median()
        whole = {f"{key}_{variable}": _number(medians.loc[variable, key]) for variable in medians.index for key in keys}
        found[str(model)] = {
            **whole,
            "n": len(units),
            "n_days": int(rows.groupby("unit")["n"].max().sum()),
            "units": units,
        }
    return found


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
