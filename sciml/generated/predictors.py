"""Model B on a tile: the emulator behind a canopy store, with weather that is wrong and parameters of its own."""

import numpy as np

from sciml.generated.fields import modes, persistent, static
from sciml.generated.forcing import Climate, Land, Weather
from sciml.land import emulator as b

LATENT_HEAT = 2.5e6  # J kg-1
DAY = 86400.0
FREEZING = 273.15


def simulate(
    climate: Climate, land: Land, sky: Weather, spin_up: int, precipitation_error: float, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Predictors of model B after `spin_up` days: (day, cell) float32 in the catalogue's names and units."""
    rain_all = perturbed(sky.precipitation, land, precipitation_error, rng).astype(np.float64)
    wide = modes(land.latitude, land.longitude, 200.0)
    temperature = sky.temperature.astype(np.float64) + 0.7 * persistent(wide, len(rain_all), 10.0, rng)
    saturated = b.saturation_humidity(temperature, sky.pressure)
    deficit = saturated * (1.0 - sky.relative_humidity)
    parameters, capacity = draw_parameters(climate, land, rng)
    zero = np.zeros(len(land.area))
    state, canopy = b.State(zero, 0.5 * parameters.saturation, zero), zero
    names = ("cw", "snw", "mrso", "hfls", "mrros")
    out = {name: np.empty((len(rain_all) - spin_up, len(land.area)), np.float32) for name in names}
    for day in range(len(rain_all)):
        solid = np.clip((FREEZING + 2.0 - temperature[day]) / 2.0, 0.0, 1.0)
        snowfall = solid * rain_all[day]
        canopy, through, canopy_loss = intercept(
            canopy, rain_all[day] - snowfall, np.maximum(parameters.g * deficit[day], 0.0), capacity
        )
        state, fluxes = b.step(state, through, snowfall, temperature[day], deficit[day], parameters)
        if day >= spin_up:
            row = day - spin_up
            out["cw"][row], out["snw"][row], out["mrso"][row] = canopy, state.snow, state.soil
            out["hfls"][row] = (fluxes.evaporation + canopy_loss) * (LATENT_HEAT / DAY)
            out["mrros"][row] = fluxes.surface_runoff / DAY
    single = np.float32
    return out | {
        "pr": (rain_all[spin_up:] / DAY).astype(single),
        "tas": temperature[spin_up:].astype(single),
    }


def intercept(
    canopy: np.ndarray, rain: np.ndarray, potential: np.ndarray, capacity: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A canopy store, since the emulator begins at the ground: new storage [kg m-2], throughfall, evaporation
    [kg m-2 day-1] after a day; all (cell,)."""
    wet = canopy + rain
    through = np.maximum(wet - capacity, 0.0)
    loss = np.minimum(wet - through, 0.6 * potential)
    return wet - through - loss, through, loss


def perturbed(precipitation: np.ndarray, land: Land, error: float, rng: np.random.Generator) -> np.ndarray:
    """Precipitation times a log-normal error of standard deviation `error`: a quarter of the variance stays for ever
    (150 km), the rest lasts 10 days (200 km). precipitation: (day, cell)."""
    lasting = static(modes(land.latitude, land.longitude, 150.0), rng)
    passing = persistent(modes(land.latitude, land.longitude, 200.0), len(precipitation), 10.0, rng)
    log = error * (0.5 * lasting + np.sqrt(0.75) * passing)
    return precipitation * np.exp(log - error**2 / 2)


def draw_parameters(climate: Climate, land: Land, rng: np.random.Generator) -> tuple[b.Parameters, np.ndarray]:
    """Parameters of the emulator and the canopy's capacity [kg m-2], drawn without a look at model A's."""
    pattern = modes(land.latitude, land.longitude, 120.0)

    def around(middle: float, spread: float) -> np.ndarray:
        return middle * np.exp(spread * static(pattern, rng))

    saturation = around(300.0, 0.25)
    one = np.ones(len(land.area))
    parameters = b.Parameters(
        a=0.95 * one,
        b=around(4.0, 0.2),
        t_c=around(273.5, 0.001),
        chi=one,
        c=0.95 * one,
        d=0.97 * one,
        alpha=np.clip(around(0.6, 0.2), 0.1, 1.0),
        beta=np.maximum(around(15.0, 0.4), 2.0),
        g=around(3.0, 0.15)
        / (b.saturation_humidity(np.array(climate.temperature), np.array(1e5)) * (climate.dryness + 0.1)),
        e=around(1 / 60.0, 0.3),
        y_0=0.2 * saturation,
        h=around(0.3, 0.4),
        k_1=12.0 / saturation,
        y_star=np.clip(around(0.7, 0.1), 0.4, 0.9) * saturation,
        k_2=around(0.08, 0.2),
        p_star=around(45.0, 0.3),
        saturation=saturation,
    )
    return parameters, around(1.5 * (1.2 - climate.dryness), 0.25)
