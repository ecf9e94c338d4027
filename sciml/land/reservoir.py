"""The baseline that an emulator must beat: degree-day snow above one linear reservoir.

    dS/dt = P_snow - min(b max(T - T_m, 0), S)
    dW/dt = P_rain + melt - E - W / tau,    E = min(k_m D, W),    R = W / tau

k_m follows the season as k exp(k_1 cos + k_2 sin). Soil water is a linear image of W: y = y_0 + s W. Written in the
dialect of `equations`.
"""

from numpy import exp, maximum, minimum

from sciml.land.models import Model, Parameter


def reservoir(state, forcing, theta, days):
    """One step: (state, forcing, theta, days) -> (state, fluxes)."""
    snow, water = state
    rain, snowfall, temperature, demand, cosine, sine = forcing
    b, t_m, k, k_1, k_2, tau, u_0, u_1, l_0, l_1 = theta
    snow = snow + days * snowfall
    melt = minimum(days * b * maximum(temperature - t_m, 0.0), snow)
    snow = snow - melt
    water = water + days * rain + melt
    lost = minimum(days * maximum(k * exp(k_1 * cosine + k_2 * sine) * demand, 0.0), water)
    water = water - lost
    out = water * days / (tau + days)
    water = water - out
    return (snow, water), (u_0 + u_1 * water, l_0 + l_1 * water, out * (1.0 / days), lost * (1.0 / days))


LINEAR_RESERVOIR = Model(
    name="linear_reservoir",
    parameters=(
        Parameter("melt_rate", "b", "kg m-2 day-1 K-1", 0.3, 15.0, 3.0, monthly=False, log=True),
        Parameter("melt_temperature", "T_m", "K", 268.15, 278.15, 273.15, monthly=False),
        Parameter("demand_factor", "k", "kg m-2 day-1", 20.0, 5000.0, 400.0, monthly=False, log=True),
        Parameter("demand_cosine", "k_1", "1", -1.5, 1.5, 0.0, monthly=False),
        Parameter("demand_sine", "k_2", "1", -1.5, 1.5, 0.0, monthly=False),
        Parameter("reservoir_days", "tau", "day", 1.0, 2000.0, 60.0, monthly=False, log=True),
        Parameter("upper_level", "u_0", "kg m-2", 0.1, 1e5, 50.0, monthly=False, log=True),
        Parameter("upper_slope", "u_1", "1", 0.0, 2.0, 0.2, monthly=False),
        Parameter("lower_level", "l_0", "kg m-2", 0.1, 1e5, 200.0, monthly=False, log=True),
        Parameter("lower_slope", "l_1", "1", 0.0, 3.0, 0.4, monthly=False),
    ),
    states=("snow", "water"),
    fluxes=("soil_upper", "soil_lower", "runoff", "evaporation"),
    budget={},
    steps={"explicit": reservoir},
    outputs=("snow", "soil_upper", "soil_lower", "runoff", "evaporation"),
    of_potential=(Parameter("demand_factor", "k", "1", 0.05, 5.0, 0.6, monthly=False, log=True),),
    forcings=("rain", "snowfall", "temperature", "demand", "cos_year", "sin_year"),
)
