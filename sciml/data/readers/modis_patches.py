"""Cut-out patches of MODIS land surface temperature, with red and near-infrared of the same windows.

Layout of the material of the Multi-residual U-Net paper re-encoded to the product's counts: `lst_dn(patch, overpass, y,
x)` [0.02 K], 0 = not produced, `overpass` day and night, `date` YYYYDDD, `window` (number of the place), `ulx`, `uly`
[m, sinusoidal], `ndvi_index` into the other file, -1 = none; and there `refl_dn(patch, band, y, x)` [1e-4], -1000 =
fill, `band` red and nir, `date` (first day of the composite), `window`. Files may be partly cloudy.
"""

import numpy as np
import xarray as xr

from sciml.core.errors import InputError
from sciml.core.urls import exists
from sciml.data.readers.common import note, open_netcdf, reading, require

LAYOUT = "a file of MODIS temperature patches"
NDVI_LAYOUT = "a file of MODIS red and near-infrared patches"
LST_SCALE = 0.02  # K per count, MOD11A1
REFLECTANCE_FILL = -1000
REFLECTANCE_SCALE = 1e-4
PIXEL_SIZE_M = 926.6254331391667  # MOD11A1's nominal 1 km
LST_RANGE_K = (200.0, 350.0)  # of a patch's median, and the most that one pixel of a cloud-free surface reaches
COLDEST_K = 150.0  # lowest valid count of the product, 7500
HOT_K = 20.0  # above the median around it; the hottest true pixel of 2620 patches stands out by 13 K
NDVI_LAG_DAYS = 24  # a 16-day composite and half a period of grace


def read_patches(patches_url: str, ndvi_url: str = "") -> xr.Dataset:
    """Patches of surface temperature and NDVI; each overpass is an image of its own.

    patches_url, ndvi_url: NetCDF files, local or s3://; without the second, or where it does not exist, there is no
    guidance and a note says so.

    Returns `lst` (image, y, x) [K], NaN missing; `ndvi` (image, y, x) and `reflectance` (image, band, y, x), red and
    near-infrared, NaN unknown; `date` (image) datetime64; `day` (image)
    bool; `window` (image); `ulx`, `uly` (image) [m]. Row 0 is north. Attributes: `pixel_size_m`,
    `source`, `outliers` (pixels set missing: hotter than LST_RANGE_K allows, or than their surroundings by HOT_K, or
    colder than the product's valid range), `empty_images` (left out: nothing but cloud), `notes`.
    Raises InputError for a damaged file, a missing variable, temperature that is not in the product's counts, a date
    that is none, a window that stands twice on one date or in two places, and NDVI of another date, place or grid.
    """
    ds = open_netcdf(patches_url, decode=False)
    require(ds, ("lst_dn", "overpass", "date", "window", "ulx", "uly"), file=patches_url, layout=LAYOUT)
    with reading(patches_url):
        day = _overpasses(ds["overpass"].values.astype(str), patches_url)
        date = day_of_year(ds["date"].values, file=patches_url)
        window = ds["window"].values.astype(int)
        corner = np.stack([ds["ulx"].values, ds["uly"].values], axis=1).astype(float)
        _places(window, corner, date, patches_url)
        counts = counts_of(ds["lst_dn"], ("patch", "overpass", "y", "x"), LST_SCALE, patches_url)
    lst, outliers = temperature(counts, names=("patch", "overpass"), file=patches_url)
    patches, overpasses = lst.shape[:2]
    ndvi, reflectance, notes = _guidance(ds, ndvi_url, date, window, lst.shape[2:], patches_url)

    def each(values: np.ndarray) -> np.ndarray:
        return np.repeat(values, overpasses, axis=0)

    image = ("image", "y", "x")
    out = xr.Dataset(
        {
            "lst": (image, lst.reshape(-1, *lst.shape[2:]), {"units": "K", "long_name": "land surface temperature"}),
            "ndvi": (image, each(ndvi), {"units": "1"}),
            "reflectance": (("image", "band", "y", "x"), each(reflectance), {"units": "1"}),
            "date": ("image", each(date).astype("datetime64[s]")),
            "day": ("image", np.tile(day, patches)),
            "window": ("image", each(window)),
            "ulx": ("image", each(corner[:, 0]), {"units": "m"}),
            "uly": ("image", each(corner[:, 1]), {"units": "m"}),
        }
    )
    empty = ~np.isfinite(out["lst"].values).any(axis=(1, 2))
    if empty.all():
        raise InputError(f"{patches_url}: variable 'lst_dn': every patch is missing throughout; expected clear pixels")
    out = out.isel(image=~empty) if empty.any() else out
    out.attrs.update(
        pixel_size_m=float(ds.attrs.get("pixel_size_m", PIXEL_SIZE_M)),
        source=patches_url,
        outliers=outliers,
        empty_images=int(empty.sum()),
    )
    if outliers:
        notes.append(f"{patches_url}: {outliers} pixels set missing: too hot or too cold for a surface")
    if empty.any():
        notes.append(f"{patches_url}: {int(empty.sum())} of {len(empty)} images hold no clear pixel and are left out")
    return note(out, *notes)


def day_of_year(values: np.ndarray, *, file: str) -> np.ndarray:
    """Dates written YYYYDDD as datetime64[D]. Raises InputError for what is no such date."""
    number = np.asarray(values).astype(np.int64)
    year, day = number // 1000, number % 1000
    start = np.array([f"{y:04d}-01-01" for y in np.clip(year, 1, 9999)], "datetime64[D]")
    date = start + (day - 1).astype("timedelta64[D]")
    wrong = (year < 1999) | (year > 2100) | (day < 1) | (date.astype("datetime64[Y]") != start.astype("datetime64[Y]"))
    if wrong.any():
        raise InputError(
            f"{file}: variable 'date', place {int(np.flatnonzero(wrong)[0])}: found {values[wrong][0]}, expected year"
            " and day of the year as YYYYDDD, e.g. 2020005; correct the file"
        )
    return date


def temperature(
    counts: np.ndarray, *, names: tuple[str, ...], file: str, variable: str = "lst_dn"
) -> tuple[np.ndarray, int]:
    """Counts of 0.02 K (..., y, x) as temperature [K], NaN where 0 or an outlier, and how many outliers there were.

    names: what the leading axes are called. Raises InputError where an image is no temperature in counts.
    """
    lst = np.where(counts > 0, counts * np.float32(LST_SCALE), np.nan).astype(np.float32)
    images = lst.reshape(-1, *lst.shape[-2:])
    low, high = LST_RANGE_K
    for i, image in enumerate(images):
        valid = image[np.isfinite(image)]
        if valid.size and not low <= (middle := float(np.median(valid))) <= high:
            place = ", ".join(
                f"{name} {at}" for name, at in zip(names, np.unravel_index(i, lst.shape[:-2]), strict=True)
            )
            raise InputError(
                f"{file}: variable '{variable}', {place}: median {middle / LST_SCALE:g}, which is {middle:.4g} K in"
                f" counts of 0.02 K; expected {low:g} .. {high:g} K; {_guess(middle / LST_SCALE)}"
            )
    bad = (images > high) | (images < COLDEST_K) | _hot(images)
    images[bad] = np.nan
    return images.reshape(lst.shape), int(bad.sum())


def counts_of(data: xr.DataArray, axes: tuple[str, ...], scale: float, file: str) -> np.ndarray:
    """Stored values, not scaled, in the order of axes. Raises InputError for other axes or another scale."""
    if set(map(str, data.dims)) != set(axes):
        raise InputError(
            f"{file}: variable '{data.name}': found axes {', '.join(map(str, data.dims))}; expected {', '.join(axes)}"
        )
    found, offset = float(data.attrs.get("scale_factor", scale)), float(data.attrs.get("add_offset", 0.0))
    if not np.isclose(found, scale) or offset:
        raise InputError(
            f"{file}: variable '{data.name}': found scale {found:g} and offset {offset:g}, expected {scale:g} and 0;"
            " store the product's counts"
        )
    return data.transpose(*axes).values


def _guess(count: float) -> str:
    if LST_RANGE_K[0] <= count <= LST_RANGE_K[1]:
        return "kelvin? store the product's counts"
    if -90.0 <= count <= 80.0:
        return "degrees Celsius? store the product's counts"
    return "counts of another scale? store the product's counts"


def _hot(images: np.ndarray) -> np.ndarray:
    """Pixels hotter by HOT_K than the median of the 5 x 5 around them. images: (image, y, x) [K]."""
    reach = 2
    out = np.zeros(images.shape, bool)
    # no median is below the image's coldest pixel, so that few can stand out
    coldest = np.nanmin(np.where(np.isfinite(images), images, np.inf), axis=(1, 2), keepdims=True)
    candidate = np.argwhere(images > coldest + HOT_K)
    padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach)), constant_values=np.nan)
    for part in np.array_split(candidate, max(1, len(candidate) // 200_000)):
        i, y, x = part.T
        around = np.stack(
            [padded[i, y + dy, x + dx] for dy in range(5) for dx in range(5) if (dy, dx) != (reach, reach)], axis=1
        )
        known = np.isfinite(around).any(axis=1)
        hot = np.zeros(len(part), bool)
        hot[known] = images[i, y, x][known] > np.nanmedian(around[known], axis=1) + HOT_K
        out[i, y, x] = hot
    return out


def _overpasses(labels: np.ndarray, file: str) -> np.ndarray:
    if not np.isin(labels, ("day", "night")).all() or len(np.unique(labels)) != len(labels):
        raise InputError(f"{file}: axis 'overpass': found {', '.join(labels)}; expected day and night, each once")
    return labels == "day"


def _places(window: np.ndarray, corner: np.ndarray, date: np.ndarray, file: str) -> None:
    if not np.isfinite(corner).all():
        at = int(np.flatnonzero(~np.isfinite(corner).all(axis=1))[0])
        raise InputError(f"{file}: variables 'ulx', 'uly', patch {at}: missing; expected the corner in metres")
    _, first, place = np.unique(window, return_index=True, return_inverse=True)
    moved = (np.abs(corner - corner[first][place]) > PIXEL_SIZE_M / 2).any(axis=1)
    if moved.any():
        at = int(np.flatnonzero(moved)[0])
        before, now = (f"{x:.0f}, {y:.0f}" for x, y in (corner[first][place][at], corner[at]))
        raise InputError(
            f"{file}: variable 'window', patch {at}: window {window[at]} lies at {now} m, before at {before} m;"
            " expected one place for each number; correct the numbers"
        )
    both = np.stack([date.astype(int), window], axis=1)
    _, first, count = np.unique(both, axis=0, return_index=True, return_counts=True)
    if (count > 1).any():
        at = int(first[count > 1][0])
        raise InputError(
            f"{file}: variable 'window': window {window[at]} stands {count[count > 1][0]} times on {date[at]}; expected"
            " once a date; remove the copies"
        )


def _guidance(
    ds: xr.Dataset, file: str, date: np.ndarray, window: np.ndarray, shape: tuple[int, ...], patches_file: str
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """NDVI (patch, y, x) and reflectance (patch, band, y, x) of every temperature patch, NaN unknown, and notes."""
    none = np.full((len(date), *shape), np.nan, np.float32)
    bands = np.full((len(date), 2, *shape), np.nan, np.float32)
    if not file:
        return none, bands, [f"{patches_file}: no NDVI file: no guidance"]
    if not exists(file):
        return none, bands, [f"{file}: no such NDVI file: no guidance"]
    require(ds, ("ndvi_index",), file=patches_file, layout=LAYOUT)
    red_nir = open_netcdf(file, decode=False)
    require(red_nir, ("refl_dn", "band", "date", "window"), file=file, layout=NDVI_LAYOUT)
    with reading(file):
        index = ds["ndvi_index"].values.astype(int)
        has = index >= 0
        pick = index[has]
        if (pick >= red_nir.sizes["patch"]).any():
            raise InputError(
                f"{patches_file}: variable 'ndvi_index': found {pick.max()}, but {file} holds {red_nir.sizes['patch']}"
                " patches; give the NDVI file that belongs to these patches"
            )
        counts = counts_of(red_nir["refl_dn"], ("patch", "band", "y", "x"), 1e-4, file)
        names = list(red_nir["band"].values.astype(str))
        if not {"red", "nir"} <= set(names):
            raise InputError(f"{file}: axis 'band': found {', '.join(names)}; expected red and nir")
        if counts.shape[2:] != tuple(shape):
            raise InputError(
                f"{file}: variable 'refl_dn': found a grid of {counts.shape[2]} x {counts.shape[3]}, expected that of"
                f" the temperature, {shape[0]} x {shape[1]}; give NDVI of the same pixels"
            )
        _agree(red_nir, pick, ds, np.flatnonzero(has), date[has], window[has], file)
    counts = counts[:, [names.index("red"), names.index("nir")]]
    ndvi = normalised_difference(counts[:, 0], counts[:, 1])
    if len(pick) and not np.isfinite(ndvi[np.unique(pick)]).any():
        raise InputError(
            f"{file}: variable 'refl_dn': no usable red and near-infrared in {len(pick)} patches; expected reflectance"
            " in counts of 1e-4"
        )
    none[has] = ndvi[pick]
    bands[has] = np.where(counts > REFLECTANCE_FILL, counts * np.float32(REFLECTANCE_SCALE), np.nan)[pick]
    lacking = int((~has).sum())
    return none, bands, [f"{patches_file}: {lacking} of {len(has)} patches have no NDVI"] if lacking else []


def normalised_difference(red: np.ndarray, nir: np.ndarray) -> np.ndarray:
    """NDVI = (nir - red) / (nir + red) of reflectance counts; NaN where either is fill or their sum is not positive."""
    red, nir = red.astype(np.float32), nir.astype(np.float32)
    known = (red > REFLECTANCE_FILL) & (nir > REFLECTANCE_FILL) & (nir + red > 0)
    ndvi = np.full(red.shape, np.nan, np.float32)
    np.divide(nir - red, nir + red, out=ndvi, where=known)
    ndvi[np.abs(ndvi) > 1.0] = np.nan  # a corrected reflectance below zero
    return ndvi


def _agree(
    red_nir: xr.Dataset,
    pick: np.ndarray,
    ds: xr.Dataset,
    patch: np.ndarray,
    date: np.ndarray,
    window: np.ndarray,
    file: str,
) -> None:
    """Refuse NDVI of another date, window or corner. pick, patch, date, window: of the patches that have NDVI."""
    theirs = red_nir["window"].values.astype(int)[pick]
    if (theirs != window).any():
        at = int(np.flatnonzero(theirs != window)[0])
        raise InputError(
            f"{file}: variable 'window', patch {pick[at]}: found window {theirs[at]}, expected {window[at]} of"
            f" temperature patch {patch[at]}; give the NDVI file that belongs to these patches"
        )
    composite = day_of_year(red_nir["date"].values, file=file)[pick]
    late = np.abs((date - composite).astype(int)) > NDVI_LAG_DAYS
    if late.any():
        at = int(np.flatnonzero(late)[0])
        raise InputError(
            f"{file}: variable 'date', patch {pick[at]}: found {composite[at]}, but temperature patch {patch[at]} is of"
            f" {date[at]}; expected at most {NDVI_LAG_DAYS} days between them; give NDVI of the same season"
        )
    for name in ("ulx", "uly"):
        if name in red_nir.variables:
            off = np.abs(red_nir[name].values.astype(float)[pick] - ds[name].values.astype(float)[patch])
            if not (off <= PIXEL_SIZE_M / 2).all():
                at = int(np.argmax(~(off <= PIXEL_SIZE_M / 2)))
                raise InputError(
                    f"{file}: variable '{name}', patch {pick[at]}: {off[at]:.0f} m off the temperature's corner;"
                    " expected the same grid; give NDVI of the same pixels"
                )
