"""One step of the land surface emulator, in plain arithmetic (Olson et al. 2024, doi:10.1016/j.jhydrol.2024.131093).

    dS_snow/dt = a (P_snow + A_sn P_rain) - b H(T - T_c) (T - T_c)^chi,        A_sn = min(sqrt(S_snow / 100 kg m-2), 1)
    P_in = c P_melt + d (1 - A_sn) P_rain + omega S_wet
    dy/dt = f P_in - g H(-S_snow) (q*(T, p) - q) - e (y - y_0)
    dS_wet/dt = (1 - alpha) (1 - f) P_in - omega S_wet
    R_r = alpha (1 - f) P_in + h
    f(y, P_in) = H(T) / ([1 + exp(k_1 (y - y*))] [1 + exp(k_2 (P_in - P*_in))]),                     omega = 1 / beta

theta = (a, b, T_c, chi, c, d, omega, g, e, y_0, h, k_1, y*, k_2, P*_in) and alpha. A step is
`step(state, forcing, theta, days) -> (state, fluxes)`, all tuples of (..., cell), one cell knowing nothing of another;
the names of what they hold are in `models`. Storage [kg m-2], fluxes [kg m-2 day-1], means over the step of `days`.
Forcing: rain, snowfall [kg m-2 day-1], temperature [K], humidity deficit q* - q [1] (or potential evaporation; g then
has no unit).

The equations know no limits; a finite step needs them: no store gives more than it holds, melt and wetland outflow
included. Limits are taken from the fluxes, so each store's change is the sum of its own fluxes.

`paper` does not conserve water: a, c and d scale fluxes, h comes from nothing and e (y - y_0) leans on an endless
store. What vanishes is the flux `unbalanced` = rain + snowfall - evaporation - runoff - d(storage)/dt. `closed` does
conserve it: a = c = d = 1, and a groundwater store G stands behind e and h,

    dG/dt = e (y - y_0) - G / tau,        h = G / tau,

from which the soil can draw no more than there is.

`paper_implicit` and `closed_implicit` are backward Euler, but for A_sn and for P_in within f, which are those before
the step. With f given, snow, S_wet and y are linear and in closed form; f itself is the root of f = f(y(f)), by Newton
steps kept within a shrinking bracket. Any f in [0, 1] keeps every store bounded and every budget closed, so the step
is stable however long it is.

The text runs on NumPy as it stands. `bound` rebinds exp, log, power, sqrt, minimum, maximum and where, and the same
text runs on torch tensors or, compiled, on numbers (`run`, `compiled`). Branches are `where`, whose both sides are
finite so that gradients are too.
"""

import builtins
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

from numpy import exp, log, maximum, minimum, power, sqrt, where

FREEZING = 273.15  # K
FULL_COVER = 100.0  # snow that covers a cell [kg m-2]
STEEPEST = 300.0  # largest exponent: beyond it f is 0 and gradients would be infinity times zero
ENDLESS = 1e30  # what the store below the soil of `paper` can give [kg m-2 day-1]


def vapour_pressure(temperature):
    """Saturation over water [Pa]; temperature [K]. Magnus: Alduchov & Eskridge 1996,
    doi:10.1175/1520-0450(1996)035<0601:IMFAOS>2.0.CO;2."""
    celsius = temperature - FREEZING
    return 610.94 * exp(17.625 * celsius / (celsius + 243.04))


def humidity(vapour, pressure):
    """q = 0.622 e / (p - 0.378 e) [1]; vapour pressure e and pressure p [Pa]."""
    return 0.622 * vapour / (pressure - 0.378 * vapour)


def saturation_humidity(temperature, pressure):
    """q*(T, p): specific humidity at saturation over water. temperature [K], pressure [Pa] -> [1].

    At the dew point it is the specific humidity of the air.
    """
    return humidity(vapour_pressure(temperature), pressure)


def snow_cover(snow):
    """A_sn. snow: [kg m-2] -> [1]."""
    lies = snow > 0.0
    return where(lies, minimum(sqrt(where(lies, snow, 1.0) * (1.0 / FULL_COVER)), 1.0), 0.0)


def snowpack(snow, rain, snowfall, temperature, a, b, t_c, chi, days):
    """-> new snow [kg m-2], gain, melt [kg m-2 day-1], cover A_sn of the old snow."""
    cover = snow_cover(snow)
    gain = a * (snowfall + cover * rain)
    warmth = temperature - t_c
    thaws = warmth > 0.0
    wanted = where(thaws, b * power(where(thaws, warmth, 1.0), chi), 0.0)
    available = snow * (1.0 / days) + gain
    melt = minimum(wanted, available)
    # exactly none once all has melted: evaporation waits for H(-S_snow)
    left = where(wanted < available, maximum(snow + days * (gain - melt), 0.0), 0.0)
    return left, gain, melt, cover


def percolation_fraction(soil, inflow, temperature, k_1, y_star, k_2, p_star):
    """f(y, P_in): share of the inflow that the soil takes."""
    dry = 1.0 + exp(minimum(k_1 * (soil - y_star), STEEPEST))
    slow = 1.0 + exp(minimum(k_2 * (inflow - p_star), STEEPEST))
    return where(temperature > FREEZING, 1.0 / (dry * slow), 0.0)


def paper(state, forcing, theta, days):
    """Explicit step of the paper's equations."""
    snow, soil, wetland = state
    rain, snowfall, temperature, deficit = forcing
    a, b, t_c, chi, c, d, omega, g, e, y_0, h, k_1, y_star, k_2, p_star, alpha = theta
    rate = 1.0 / days
    wanted = where(snow > 0.0, 0.0, g * deficit)  # dew where the air is above saturation
    snow, gain, melt, cover = snowpack(snow, rain, snowfall, temperature, a, b, t_c, chi, days)
    outflow = minimum(omega, rate) * wetland
    inflow = c * melt + d * (1.0 - cover) * rain + outflow
    percolation = percolation_fraction(soil, inflow, temperature, k_1, y_star, k_2, p_star) * inflow
    exchange = minimum(e * (soil - y_0), rate * soil)
    evaporation = minimum(wanted, rate * soil + percolation - exchange)
    soil = maximum(soil + days * (percolation - evaporation - exchange), 0.0)
    rejected = inflow - percolation
    surface = alpha * rejected
    ponding = rejected - surface
    wetland = maximum(wetland + days * (ponding - outflow), 0.0)
    lost = unbalanced(rain, snowfall, cover, melt, exchange, a, c, d, h)
    fluxes = (gain, melt, inflow, percolation, evaporation, exchange, ponding, outflow, surface, h, surface + h, lost)
    return (snow, soil, wetland), fluxes


def closed(state, forcing, theta, days):
    """Explicit step with the water budget closed."""
    snow, soil, wetland, groundwater = state
    rain, snowfall, temperature, deficit = forcing
    b, t_c, chi, omega, g, e, y_0, tau, k_1, y_star, k_2, p_star, alpha = theta
    rate = 1.0 / days
    wanted = where(snow > 0.0, 0.0, g * deficit)
    snow, gain, melt, cover = snowpack(snow, rain, snowfall, temperature, 1.0, b, t_c, chi, days)
    outflow = minimum(omega, rate) * wetland
    inflow = melt + (1.0 - cover) * rain + outflow
    percolation = percolation_fraction(soil, inflow, temperature, k_1, y_star, k_2, p_star) * inflow
    baseflow = minimum(1.0 / tau, rate) * groundwater
    exchange = maximum(minimum(e * (soil - y_0), rate * soil), baseflow - rate * groundwater)
    evaporation = minimum(wanted, rate * soil + percolation - exchange)
    soil = maximum(soil + days * (percolation - evaporation - exchange), 0.0)
    groundwater = maximum(groundwater + days * (exchange - baseflow), 0.0)
    rejected = inflow - percolation
    surface = alpha * rejected
    ponding = rejected - surface
    wetland = maximum(wetland + days * (ponding - outflow), 0.0)
    runoff = surface + baseflow
    fluxes = (gain, melt, inflow, percolation, evaporation, exchange, ponding, outflow, surface, baseflow, runoff)
    return (snow, soil, wetland, groundwater), fluxes


def paper_implicit(state, forcing, theta, days):
    """Backward Euler step of the paper's equations."""
    snow, soil, wetland = state
    rain, snowfall, temperature, deficit = forcing
    a, b, t_c, chi, c, d, omega, g, e, y_0, h, k_1, y_star, k_2, p_star, alpha = theta
    snow, gain, melt, cover = snowpack(snow, rain, snowfall, temperature, a, b, t_c, chi, days)
    onto = c * melt + d * (1.0 - cover) * rain
    wanted = where(snow > 0.0, 0.0, g * deficit)
    below = (e, y_0, ENDLESS)
    f = implicit_fraction(
        soil, wetland, onto, wanted, temperature, below, (k_1, y_star, k_2, p_star), alpha, omega, days
    )
    wetland, outflow, ponding = implicit_wetland(f, wetland, onto, alpha, omega, days)
    inflow = onto + outflow
    percolation = f * inflow
    soil, exchange, evaporation = implicit_soil(soil, percolation, wanted, below, days)
    surface = alpha * (inflow - percolation)
    lost = unbalanced(rain, snowfall, cover, melt, exchange, a, c, d, h)
    fluxes = (gain, melt, inflow, percolation, evaporation, exchange, ponding, outflow, surface, h, surface + h, lost)
    return (snow, soil, wetland), fluxes


def closed_implicit(state, forcing, theta, days):
    """Backward Euler step with the water budget closed."""
    snow, soil, wetland, groundwater = state
    rain, snowfall, temperature, deficit = forcing
    b, t_c, chi, omega, g, e, y_0, tau, k_1, y_star, k_2, p_star, alpha = theta
    snow, gain, melt, cover = snowpack(snow, rain, snowfall, temperature, 1.0, b, t_c, chi, days)
    onto = melt + (1.0 - cover) * rain
    wanted = where(snow > 0.0, 0.0, g * deficit)
    below = (e, y_0, groundwater * (1.0 / days))
    f = implicit_fraction(
        soil, wetland, onto, wanted, temperature, below, (k_1, y_star, k_2, p_star), alpha, omega, days
    )
    wetland, outflow, ponding = implicit_wetland(f, wetland, onto, alpha, omega, days)
    inflow = onto + outflow
    percolation = f * inflow
    soil, exchange, evaporation = implicit_soil(soil, percolation, wanted, below, days)
    held = maximum(groundwater + days * exchange, 0.0)
    baseflow = held / (tau + days)
    groundwater = held - days * baseflow
    surface = alpha * (inflow - percolation)
    runoff = surface + baseflow
    fluxes = (gain, melt, inflow, percolation, evaporation, exchange, ponding, outflow, surface, baseflow, runoff)
    return (snow, soil, wetland, groundwater), fluxes


def unbalanced(rain, snowfall, cover, melt, exchange, a, c, d, h):
    """Water that a, c, d, e and h make vanish [kg m-2 day-1]; what they make is negative."""
    kept_out = (1.0 - a) * (snowfall + cover * rain) + (1.0 - c) * melt + (1.0 - d) * (1.0 - cover) * rain
    return kept_out + exchange - h


def implicit_wetland(f, wetland, onto, alpha, omega, days):
    """Backward Euler of S_wet for a given f. onto: P_in without outflow -> new S_wet, outflow, gain."""
    stays = (1.0 - alpha) * (1.0 - f)
    new = (wetland + days * stays * onto) / (1.0 + days * omega * (1.0 - stays))
    outflow = omega * new
    return new, outflow, stays * (onto + outflow)


def implicit_soil(soil, percolation, wanted, below, days):
    """Backward Euler of y for a given percolation -> new y, exchange, evaporation.

    wanted: evaporation where water does not limit it; below: e, y_0 and the most that may rise from below.
    """
    e, y_0, most = below
    level = maximum((soil + days * (percolation - wanted + e * y_0)) / (1.0 + days * e), 0.0)
    exchange = maximum(e * (level - y_0), -most)
    evaporation = minimum(wanted, soil * (1.0 / days) + percolation - exchange)
    return maximum(soil + days * (percolation - evaporation - exchange), 0.0), exchange, evaporation


def implicit_fraction(soil, wetland, onto, wanted, temperature, below, curve, alpha, omega, days):
    """The f that agrees with the y it leads to, and with the P_in before the step.

    f = slow exp(-v), v = softplus(u), u = k_1 (y - y*), and y falls with v. v - softplus(u(v)) rises steadily. With u
    linear in f, u = u_0 + (u_1 - u_0) exp(-v), and for large u the root is u_0 + W((u_1 - u_0) exp(-u_0)), Lambert's W;
    a lower bound of that W is the beginning.
    """
    k_1, y_star, k_2, p_star = curve
    slow = 1.0 / (1.0 + exp(minimum(k_2 * (onto + omega * wetland - p_star), STEEPEST)))
    slow = where(temperature > FREEZING, slow, 0.0)
    given = (soil, wetland, onto, wanted, slow, below, k_1, y_star, alpha, omega, days)
    dry, _ = exponent(0.0 * slow, given)
    wet, _ = exponent(slow, given)
    depth = log(1.0 + maximum(wet - dry, 0.0) * exp(minimum(-dry, STEEPEST)))
    low, high = 0.0 * slow, softplus(wet)
    v = minimum(maximum(dry + depth - log(1.0 + depth), 0.0), high)
    # written out, for a loop within the loop over cells would not be compiled to vectors
    v, low, high = refined(v, low, high, given)
    v, low, high = refined(v, low, high, given)
    v, low, high = refined(v, low, high, given)
    v, low, high = refined(v, low, high, given)
    v, low, high = refined(v, low, high, given)
    v, low, high = refined(v, low, high, given)
    v, low, high = refined(v, low, high, given)
    v, low, high = refined(v, low, high, given)
    return slow * exp(-v)


def exponent(f, given):
    """u = k_1 (y - y*) after the step for a given f, and du/df."""
    soil, wetland, onto, wanted, _, below, k_1, y_star, alpha, omega, days = given
    _, outflow, _ = implicit_wetland(f, wetland, onto, alpha, omega, days)
    inflow = onto + outflow
    level, exchange, _ = implicit_soil(soil, f * inflow, wanted, below, days)
    limited = exchange > below[0] * (level - below[1])  # the store below gave all it had
    deeper = where(limited, days, days / (1.0 + days * below[0]))
    grows = (1.0 + omega * days * alpha) / (1.0 + omega * days * (alpha + f * (1.0 - alpha)))
    return k_1 * (level - y_star), where(level > 0.0, k_1 * deeper * inflow * grows, 0.0)


def refined(v, low, high, given):
    """One Newton step for v = softplus(u(v)), or the middle of the bracket where Newton leaves it."""
    f = given[4] * exp(-v)
    u, slope = exponent(f, given)
    residual = v - softplus(u)
    low = where(residual < 0.0, v, low)
    high = where(residual < 0.0, high, v)
    new = v - residual / (1.0 + slope * f / (1.0 + exp(minimum(-u, STEEPEST))))
    inside = (new >= low) & (new <= high)
    return where(inside, new, 0.5 * (low + high)), low, high


def softplus(x):
    """log(1 + exp(x))."""
    return maximum(x, 0.0) + log(1.0 + exp(-maximum(x, -x)))


def bound(
    function: FunctionType, names: Mapping[str, Any], wrap: Callable[[FunctionType], Any] = lambda f: f
) -> Callable[..., Any]:
    """`function`, and whatever it calls of its own kind, with `names` in place of the module's; each through `wrap`."""
    spaces: dict[str, Any] = {}
    for name in function.__code__.co_names:
        value = names.get(name, function.__globals__.get(name))
        if isinstance(value, FunctionType) and name not in names:
            value = bound(value, names, wrap)
        if value is not None:
            spaces[name] = value
    new = FunctionType(
        function.__code__, {**spaces, "__name__": function.__module__, "__builtins__": builtins}, function.__name__
    )
    return wrap(new)
