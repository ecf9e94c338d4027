"""Our model of a land surface: snow and soil at five temperatures inside a cell, above one groundwater store.

A land surface model's cell mean hides a spread that its thresholds feel: snow lies on the cold part while the warm part
evaporates. So a cell is five columns of equal area at the quintiles z of a normal spread,

    T_z = T - sigma_T z,    P_z = P (1 + gamma_P z),    E_z = k_m D (1 + gamma_E z) (1 - eps S / (S + 5 kg m-2)),

with D the demand of the forcing (humidity deficit or potential evaporation). The season, tau = 2 pi day / 365.25, moves
k_m = k exp(k_1 cos tau + k_2 sin tau + k_3 cos 2 tau + k_4 sin 2 tau) and b_m = b exp(b_1 cos tau + b_2 sin tau).
Each column has the same parameters and these stores, in this order of events (HBV and PCR-GLOBWB in kind: Lindström et
al. 1997, doi:10.1016/S0022-1694(97)00041-3; Sutanudjaja et al. 2018, doi:10.5194/gmd-11-2429-2018):

    snow S      + P_z / (1 + exp(2 (T_z - T_s) / w)) - melt, which warmth b_m max(T_z - T_m, 0) S / (S + S_c) (thin snow
                covers a part of the ground) and the heat of rain make
    water in it W     holds c_w S and freezes again at c_r max(T_m - T_z, 0)
    canopy I    holds I_c, evaporates at the full demand
    soil U      (0 .. U_max (1 + gamma_W z)), u = U / U_max: what falls through is kept out by u^beta, and a share delta
                of that runs off, the rest goes to L; evaporation phi E min(u / u_s, 1); drains K_U u^b_U to L; gets
                kappa (1 - u) l from L
    soil L      likewise, l = L / L_max: evaporation (1 - phi) E min(l / l_s, 1); drains K_L l^b_L to groundwater and
                K_I l^b_I to the river
    groundwater G   one for the cell, G / tau to the river

What a soil cannot hold spills. No store gives more than it has and all water is somewhere: the budget closes. The soil
water and groundwater of another model count from other levels: u_0, l_0, g_0 are added to what is compared.

Written in the dialect of `equations`.
"""

from dataclasses import replace

from numpy import exp, maximum, minimum, power

from sciml.land.equations import FREEZING
from sciml.land.models import Model, Parameter

Z = (-1.400, -0.532, 0.0, 0.532, 1.400)  # means of the fifths of a standard normal
RAIN_MELT = 0.0125  # snow that the heat of rain melts: specific heat of water over heat of fusion [K-1]
SNOW_SHADE = 5.0  # snow that halves what it can keep from evaporating [kg m-2]


def sciml(state, forcing, theta, days):
    """One explicit step: (state, forcing, theta, days) -> (state, fluxes); see `equations`."""
    (s1, w1, i1, u1, l1, s2, w2, i2, u2, l2, s3, w3, i3, u3, l3, s4, w4, i4, u4, l4, s5, w5, i5, u5, l5, g) = state
    rain, snowfall, temperature, demand, cosine, sine = forcing
    (
        t_s, width, t_m, b, b_1, b_2, sigma_t, gamma_p, c_w, c_r, s_c, k, k_1, k_2, k_3, k_4, gamma_e, shade, i_c, phi,
        u_s, l_s, u_max, gamma_w, beta, delta, k_u, b_u, l_max, k_l, b_l, k_i, b_i, kappa, u_0, l_0, tau, g_0,
    ) = theta  # fmt: skip
    b = b * exp(b_1 * cosine + b_2 * sine)
    k = k * exp(k_1 * cosine + k_2 * sine + k_3 * (2.0 * cosine * cosine - 1.0) + k_4 * 2.0 * sine * cosine)
    sky = (days * (rain + snowfall), temperature, days * maximum(k * demand, 0.0))  # dew is left out
    snow = (t_s, width, t_m, b, sigma_t, gamma_p, c_w, c_r, s_c)
    loss = (gamma_e, shade, i_c, phi, u_s, l_s)
    soil = (u_max, gamma_w, beta, delta, k_u, b_u, l_max, k_l, b_l, k_i, b_i, kappa)
    (s1, w1, i1, u1, l1), (e1, r1, d1, o1) = column((s1, w1, i1, u1, l1), sky, snow, loss, soil, Z[0], days)
    (s2, w2, i2, u2, l2), (e2, r2, d2, o2) = column((s2, w2, i2, u2, l2), sky, snow, loss, soil, Z[1], days)
    (s3, w3, i3, u3, l3), (e3, r3, d3, o3) = column((s3, w3, i3, u3, l3), sky, snow, loss, soil, Z[2], days)
    (s4, w4, i4, u4, l4), (e4, r4, d4, o4) = column((s4, w4, i4, u4, l4), sky, snow, loss, soil, Z[3], days)
    (s5, w5, i5, u5, l5), (e5, r5, d5, o5) = column((s5, w5, i5, u5, l5), sky, snow, loss, soil, Z[4], days)
    mean = 0.2 / days
    evaporation = mean * (e1 + e2 + e3 + e4 + e5)
    surface = mean * (r1 + r2 + r3 + r4 + r5)
    recharge = mean * (d1 + d2 + d3 + d4 + d5)
    interflow = mean * (o1 + o2 + o3 + o4 + o5)
    held = g + days * recharge
    baseflow = held / (tau + days)
    g = held - days * baseflow
    runoff = surface + interflow + baseflow
    state = (s1, w1, i1, u1, l1, s2, w2, i2, u2, l2, s3, w3, i3, u3, l3, s4, w4, i4, u4, l4, s5, w5, i5, u5, l5, g)
    lying, upper, lower, ground = levels(state, u_0, l_0, g_0)
    return state, (lying, upper, lower, ground, surface, interflow, recharge, baseflow, runoff, evaporation)


def sciml_mean(state, forcing, theta, days):
    """As `sciml`, with stores that are means over the step, for a reference that gives such."""
    lying, upper, lower, ground = levels(state, theta[-4], theta[-3], theta[-1])
    state, fluxes = sciml(state, forcing, theta, days)
    means = (
        0.5 * (lying + fluxes[0]),
        0.5 * (upper + fluxes[1]),
        0.5 * (lower + fluxes[2]),
        0.5 * (ground + fluxes[3]),
    )
    return state, (*means, *fluxes[4:])


def levels(state, u_0, l_0, g_0):
    """What is compared with another model: snow with its water, upper and lower soil, groundwater [kg m-2]."""
    (s1, w1, _, u1, l1, s2, w2, _, u2, l2, s3, w3, _, u3, l3, s4, w4, _, u4, l4, s5, w5, _, u5, l5, g) = state
    lying = 0.2 * (s1 + w1 + s2 + w2 + s3 + w3 + s4 + w4 + s5 + w5)
    upper = u_0 + 0.2 * (u1 + u2 + u3 + u4 + u5)
    lower = l_0 + 0.2 * (l1 + l2 + l3 + l4 + l5)
    return lying, upper, lower, g_0 + g


def column(stores, sky, of_snow, of_loss, of_soil, z, days):
    """A column at the quintile z: stores (S, W, I, U, L) and (precipitation [kg m-2], T [K], demand [kg m-2]) of a step
    -> new stores and (evaporation, surface runoff, recharge, interflow) [kg m-2]."""
    snow, liquid, canopy, upper, lower = stores
    precipitation, temperature, demand = sky
    t_s, width, t_m, b, sigma_t, gamma_p, c_w, c_r, s_c = of_snow
    gamma_e, shade, i_c, phi, u_s, l_s = of_loss
    u_max, gamma_w, beta, delta, k_u, b_u, l_max, k_l, b_l, k_i, b_i, kappa = of_soil

    here = temperature - sigma_t * z
    falls = precipitation * (1.0 + gamma_p * z)
    frozen = falls / (1.0 + exp(maximum(minimum(2.0 * (here - t_s) / width, 50.0), -50.0)))
    snow = snow + frozen
    rain = falls - frozen
    heat = b * maximum(here - t_m, 0.0) * snow / (snow + s_c)
    melt = minimum(days * heat + RAIN_MELT * rain * maximum(here - FREEZING, 0.0), snow)
    liquid = liquid + melt + rain
    refrozen = minimum(days * c_r * maximum(t_m - here, 0.0), liquid)
    snow = snow - melt + refrozen
    liquid = liquid - refrozen
    water = maximum(liquid - c_w * snow, 0.0)
    liquid = liquid - water

    wanted = demand * (1.0 + gamma_e * z) * (1.0 - shade * snow / (snow + SNOW_SHADE))
    wet = canopy + water
    through = maximum(wet - i_c, 0.0)
    wet = wet - through
    from_canopy = minimum(wet, wanted)
    canopy = wet - from_canopy
    wanted = wanted - from_canopy

    holds = 1.0 + gamma_w * z
    full_u, full_l = u_max * holds, l_max * holds
    excess = through * share(upper / full_u, beta)
    upper = upper + through - excess
    spill = maximum(upper - full_u, 0.0)
    upper = upper - spill
    excess = excess + spill
    from_upper = minimum(phi * wanted * minimum(upper / (full_u * u_s), 1.0), upper)
    from_lower = minimum((1.0 - phi) * wanted * minimum(lower / (full_l * l_s), 1.0), lower)
    upper = upper - from_upper
    lower = lower - from_lower
    down = minimum(days * k_u * share(upper / full_u, b_u), upper)
    up = minimum(days * kappa * (1.0 - upper / full_u) * lower / full_l, lower)
    surface = delta * excess
    upper = upper - down + up
    lower = lower + down - up + excess - surface
    spill = maximum(lower - full_l, 0.0)
    lower = lower - spill
    recharge = minimum(days * k_l * share(lower / full_l, b_l), lower)
    lower = lower - recharge
    interflow = minimum(days * k_i * share(lower / full_l, b_i), lower)
    lower = lower - interflow
    return (snow, liquid, canopy, upper, lower), (
        from_canopy + from_upper + from_lower,
        surface + spill,
        recharge,
        interflow,
    )


def share(wetness, exponent):
    """wetness ** exponent, within 0 and 1; a floor far below any water keeps its gradient finite."""
    return power(maximum(minimum(wetness, 1.0), 1e-12), exponent)


_STORES = ("snow", "liquid", "canopy", "upper", "lower")
_PARAMETERS = (
    Parameter("snow_temperature", "T_s", "K", 270.15, 277.15, 274.15, monthly=False),
    Parameter("snow_width", "w", "K", 0.2, 4.0, 1.5, monthly=False),
    Parameter("melt_temperature", "T_m", "K", 270.15, 277.15, 273.15, monthly=False),
    Parameter("melt_rate", "b", "kg m-2 day-1 K-1", 0.3, 15.0, 3.0, monthly=False, log=True),
    Parameter("melt_cosine", "b_1", "1", -1.0, 1.0, -0.2, monthly=False),
    Parameter("melt_sine", "b_2", "1", -1.0, 1.0, 0.0, monthly=False),
    Parameter("temperature_spread", "sigma_T", "K", 0.0, 8.0, 1.5, monthly=False),
    Parameter("precipitation_gradient", "gamma_P", "1", -0.4, 0.6, 0.05, monthly=False),
    Parameter("liquid_share", "c_w", "1", 0.0, 0.4, 0.05, monthly=False),
    Parameter("refreezing_rate", "c_r", "kg m-2 day-1 K-1", 0.0, 3.0, 0.3, monthly=False),
    Parameter("snow_cover", "S_c", "kg m-2", 0.05, 50.0, 1.0, monthly=False, log=True),
    Parameter("demand_factor", "k", "kg m-2 day-1", 50.0, 5000.0, 600.0, monthly=False, log=True),
    Parameter("demand_cosine", "k_1", "1", -1.5, 1.5, 0.0, monthly=False),
    Parameter("demand_sine", "k_2", "1", -1.5, 1.5, 0.0, monthly=False),
    Parameter("demand_cosine_2", "k_3", "1", -0.7, 0.7, 0.0, monthly=False),
    Parameter("demand_sine_2", "k_4", "1", -0.7, 0.7, 0.0, monthly=False),
    Parameter("demand_gradient", "gamma_E", "1", -0.6, 0.6, 0.0, monthly=False),
    Parameter("snow_shade", "eps", "1", 0.0, 1.0, 0.5, monthly=False),
    Parameter("canopy_capacity", "I_c", "kg m-2", 0.0, 6.0, 1.0, monthly=False),
    Parameter("upper_share", "phi", "1", 0.0, 1.0, 0.5, monthly=False),
    Parameter("upper_stress", "u_s", "1", 0.01, 2.0, 0.5, monthly=False),
    Parameter("lower_stress", "l_s", "1", 0.01, 2.0, 0.5, monthly=False),
    Parameter("upper_capacity", "U_max", "kg m-2", 5.0, 400.0, 80.0, monthly=False, log=True),
    Parameter("capacity_gradient", "gamma_W", "1", -0.5, 0.5, 0.0, monthly=False),
    Parameter("excess_exponent", "beta", "1", 0.1, 30.0, 2.0, monthly=False, log=True),
    Parameter("runoff_share", "delta", "1", 0.0, 1.0, 0.5, monthly=False),
    Parameter("upper_drainage", "K_U", "kg m-2 day-1", 0.1, 200.0, 20.0, monthly=False, log=True),
    Parameter("upper_exponent", "b_U", "1", 0.5, 20.0, 4.0, monthly=False, log=True),
    Parameter("lower_capacity", "L_max", "kg m-2", 10.0, 2000.0, 250.0, monthly=False, log=True),
    Parameter("lower_drainage", "K_L", "kg m-2 day-1", 0.01, 100.0, 4.0, monthly=False, log=True),
    Parameter("lower_exponent", "b_L", "1", 0.5, 20.0, 4.0, monthly=False, log=True),
    Parameter("interflow_rate", "K_I", "kg m-2 day-1", 0.01, 100.0, 1.0, monthly=False, log=True),
    Parameter("interflow_exponent", "b_I", "1", 0.5, 20.0, 4.0, monthly=False, log=True),
    Parameter("capillary_rise", "kappa", "kg m-2 day-1", 0.0, 5.0, 0.5, monthly=False),
    Parameter("upper_level", "u_0", "kg m-2", 0.1, 1e5, 20.0, monthly=False, log=True),
    Parameter("lower_level", "l_0", "kg m-2", 0.1, 1e5, 100.0, monthly=False, log=True),
    Parameter("groundwater_days", "tau", "day", 1.0, 1000.0, 60.0, monthly=False, log=True),
    Parameter("groundwater_level", "g_0", "kg m-2", 0.1, 1e5, 20.0, monthly=False, log=True),
)
SCIML = Model(
    name="sciml",
    parameters=_PARAMETERS,
    states=(*(f"{store}_{place}" for place in range(1, 6) for store in _STORES), "groundwater_store"),
    fluxes=("snow", "soil_upper", "soil_lower", "groundwater", "surface_runoff", "interflow", "recharge", "baseflow",
            "runoff", "evaporation"),
    budget={},
    steps={"explicit": sciml},
    outputs=("snow", "soil_upper", "soil_lower", "groundwater", "runoff", "evaporation"),
    of_potential=(Parameter("demand_factor", "k", "1", 0.1, 5.0, 0.8, monthly=False, log=True),),
    forcings=("rain", "snowfall", "temperature", "demand", "cos_year", "sin_year"),
)  # fmt: skip
SCIML_MEAN = replace(SCIML, steps={"explicit": sciml_mean})
