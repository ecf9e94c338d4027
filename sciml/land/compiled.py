"""The compiled back end: a step of `equations` as a loop over days and cells, in vectors of one core.

The step's text is compiled for numbers, with exp and power that have no branch, and the loop over cells is the
innermost, so that the compiler works on whole vectors. Cells are taken in blocks; states, parameters, forcing and
fluxes of a block lie in one scratch array that stays in the cache while its days pass. Lanes of a block are cells, or,
where cells are few, cells times candidates. Every cell is computed in a full vector, so its bits depend neither on its
neighbours nor on where a run was cut.
"""

import hashlib
from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any

import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic

from sciml.land import equations

WIDTH = 248  # lanes of a block: whole vectors; a power of two would make its rows compete for the same cache lines
LANES = 8
SEGMENT = 32  # days that all candidates of a block see before the next days

_inlined = numba.njit(error_model="numpy", fastmath={"contract", "nsz"}, forceinline=True)
_options = {"error_model": "numpy", "fastmath": {"contract", "nsz"}, "nogil": True, "cache": True}

(_, _, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11, _12) = 1.0 / np.cumprod(np.maximum(np.arange(13.0), 1.0))
LN2_HIGH, LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10  # the first times a whole number is exact
SHIFT = 6755399441055744.0  # 1.5 * 2^52: adding it rounds to a whole number, which then stands in the low bits
ROOT_HALF = np.int64(0x3FE6A09E667F3BCD)  # bits of sqrt(1/2)


@_inlined
def _exp(x):
    """2^k exp(r), |r| <= ln 2 / 2, by the Taylor series to r^12; relative error below 1e-15."""
    y = min(max(x, -708.0), 709.0)
    shifted = y * 1.4426950408889634 + SHIFT
    k = shifted - SHIFT
    r = (y - k * LN2_HIGH) - k * LN2_LOW
    r2 = r * r
    r4 = r2 * r2
    # in pairs, for a long chain of additions waits for each
    low = (1.0 + r) + r2 * (_2 + _3 * r)
    middle = (_4 + _5 * r) + r2 * (_6 + _7 * r)
    high = (_8 + _9 * r) + r2 * (_10 + _11 * r)
    p = low + r4 * (middle + r4 * (high + r4 * _12))
    scale = (np.float64(shifted).view(np.int64) + np.int64(1023)) << np.int64(52)
    return p * np.int64(scale).view(np.float64)


@_inlined
def _log(x):
    """log of a positive normal number: x = 2^e m, sqrt(1/2) <= m < sqrt(2), log m = 2 artanh((m - 1) / (m + 1))."""
    bits = np.float64(x).view(np.int64)
    e = (bits - ROOT_HALF) >> np.int64(52)
    m = np.int64(bits - (e << np.int64(52))).view(np.float64)
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    z2 = z * z
    z4 = z2 * z2
    low = (2.0 + 2.0 / 3.0 * z) + z2 * (2.0 / 5.0 + 2.0 / 7.0 * z)
    high = (2.0 / 9.0 + 2.0 / 11.0 * z) + z2 * (2.0 / 13.0 + 2.0 / 15.0 * z)
    p = low + z4 * (high + z4 * (2.0 / 17.0 + 2.0 / 19.0 * z))
    k = np.float64(e)
    return k * LN2_HIGH + (s * p + k * LN2_LOW)


@_inlined
def _power(x, y):
    return _exp(y * _log(x))


@_inlined
def _sqrt(x):
    return np.sqrt(x)


@_inlined
def _minimum(x, y):
    return x if x < y else y


@_inlined
def _maximum(x, y):
    return x if x > y else y


@_inlined
def _where(condition, x, y):
    return x if condition else y


NAMES = {
    "exp": _exp,
    "log": _log,
    "power": _power,
    "sqrt": _sqrt,
    "minimum": _minimum,
    "maximum": _maximum,
    "where": _where,
}


@intrinsic
def _loaded(context, array, first, like, lane):
    """array[first : first + len(like), lane] as a tuple; no index is checked."""
    count = len(like)

    def build(context, builder, signature, arguments):
        held = context.make_array(signature.args[0])(context, builder, arguments[0])
        width = builder.extract_value(held.shape, 1)
        values = []
        for row in range(count):
            start = builder.mul(builder.add(arguments[1], arguments[1].type(row)), width, flags=["nsw"])
            place = builder.add(start, arguments[3], flags=["nsw"])
            values.append(builder.load(builder.gep(held.data, [place], inbounds=True)))
        return context.make_tuple(builder, signature.return_type, values)

    return types.UniTuple(array.dtype, count)(array, first, like, lane), build


@intrinsic
def _stored(context, array, first, values, lane):
    """array[first : first + len(values), lane] = values; no index is checked."""

    def build(context, builder, signature, arguments):
        held = context.make_array(signature.args[0])(context, builder, arguments[0])
        width = builder.extract_value(held.shape, 1)
        for row, kind in enumerate(signature.args[2]):
            start = builder.mul(builder.add(arguments[1], arguments[1].type(row)), width, flags=["nsw"])
            place = builder.add(start, arguments[3], flags=["nsw"])
            value = context.cast(builder, builder.extract_value(arguments[2], row), kind, array.dtype)
            builder.store(value, builder.gep(held.data, [place], inbounds=True))
        return context.get_dummy_value()

    return types.void(array, first, values, lane), build


@_inlined
def _copy(target, source):
    for i in range(len(source)):
        target[i] = source[i]


@_inlined
def _repeat(target, source, count):
    """target = source, count times over."""
    w = len(source)
    if w >= 2 * LANES:
        for k in range(count):
            _copy(target[k * w : k * w + w], source)
    else:
        for i in range(w):
            value = np.float64(source[i])
            for k in range(count):
                target[k * w + i] = value


@_inlined
def _add_errors(total, value, target, weight):
    for i in range(len(total)):
        error = value[i] - target[i]
        total[i] += weight[i] * error * error if target[i] == target[i] else 0.0


# What the loops find here when they are compiled: `_finished` fills it in for each model.
step: Any = None
saturation_humidity: Any = None
STATES = FORCINGS = PARAMETERS = THETA = FLUXES = ROWS = 0
SOME_STATES: tuple[float, ...] = ()
SOME_FORCINGS: tuple[float, ...] = ()
SOME_PARAMETERS: tuple[float, ...] = ()


def _loop(of: str) -> FunctionType:
    """The loop. `of` names what is compiled into it: it is part of what the compiler's cache knows it by."""

    def loop(forcing, theta, state, months, bounds, picked, out, scored, targets, weights, errors, days):
        """Moves state (state, lane) through the days; fills out (time, variable, lane) with the rows `picked` of states
        and fluxes; adds weight (value - target)^2 of the rows `scored` to errors (lane,).

        A lane is one candidate's cell, lane = candidate * cells + cell. forcing: (time, cell) each; theta: (parameter,
        month, lane); days bounds[n]:bounds[n + 1] have the month months[n]; targets: (time, variable, cell), NaN where
        there is none; weights: (variable, cell).
        """
        _ = of
        scratch = np.ones((ROWS + 1 + 2 * len(scored), WIDTH))
        target, weight = ROWS + 1, ROWS + 1 + len(scored)
        cells = forcing[0].shape[1]
        candidates = len(errors) // cells
        together = max(WIDTH // cells, 1)
        for left in range(0, cells, WIDTH):
            right = min(left + WIDTH, cells)
            for n in range(len(months)):
                for k in range(0, candidates, together):
                    count = min(together, candidates - k)
                    w = count * (right - left)
                    lanes = (w + LANES - 1) // LANES * LANES
                    a = k * cells + left
                    b = a + w
                    for j in range(STATES):
                        _copy(scratch[j], state[j, a:b])
                    for j in range(PARAMETERS):
                        _copy(scratch[THETA + j], theta[j, months[n], a:b])
                    for v in range(len(scored)):
                        _repeat(scratch[weight + v], weights[v, left:right], count)
                    _copy(scratch[ROWS], errors[a:b])
                    for t in range(bounds[n], bounds[n + 1]):
                        for j in range(FORCINGS):
                            _repeat(scratch[STATES + j], forcing[j][t, left:right], count)
                        for v in range(len(scored)):
                            _repeat(scratch[target + v], targets[t, v, left:right], count)
                        for i in range(lanes):
                            new, fluxes = step(
                                _loaded(scratch, 0, SOME_STATES, i),
                                _loaded(scratch, STATES, SOME_FORCINGS, i),
                                _loaded(scratch, THETA, SOME_PARAMETERS, i),
                                days,
                            )
                            _stored(scratch, 0, new, i)
                            _stored(scratch, FLUXES, fluxes, i)
                        for v in range(len(picked)):
                            _copy(out[t, v, a:b], scratch[picked[v], :w])
                        for v in range(len(scored)):
                            _add_errors(
                                scratch[ROWS, :lanes],
                                scratch[scored[v], :lanes],
                                scratch[target + v, :lanes],
                                scratch[weight + v, :lanes],
                            )
                    for j in range(STATES):
                        _copy(state[j, a:b], scratch[j, :w])
                    _copy(errors[a:b], scratch[ROWS, :w])

    return loop


@cache
def compiled(step: FunctionType, states: int, forcings: int, parameters: int, fluxes: int) -> Callable[..., None]:
    """The loop of a step with so many states, forcings, parameters and fluxes."""
    space = {
        "step": equations.bound(step, NAMES, _inlined),
        "STATES": states,
        "FORCINGS": forcings,
        "PARAMETERS": parameters,
        "THETA": states + forcings,
        "FLUXES": states + forcings + parameters,
        "ROWS": states + forcings + parameters + fluxes,
        "SOME_STATES": (0.0,) * states,
        "SOME_FORCINGS": (0.0,) * forcings,
        "SOME_PARAMETERS": (0.0,) * parameters,
    }
    return _finished(_loop, step, f"{states} {forcings} {parameters} {fluxes}", space)


def _finished(factory: Callable[[str], FunctionType], inner: FunctionType, sizes: str, space: dict[str, Any]):
    """The compiled loop of `factory` around `inner`. What the loop finds in its globals the compiler's cache cannot
    see, so the loop carries a digest of it."""
    loop = factory(f"{inner.__name__} {sizes} {_digest(inner)}")
    names = globals() | {inner.__name__: equations.bound(inner, NAMES, _inlined)} | space
    function = FunctionType(loop.__code__, names, loop.__name__, None, loop.__closure__)
    function.__qualname__ = loop.__qualname__
    return numba.njit(**_options)(function)


def _digest(function: FunctionType) -> str:
    """Of a step's text and all it calls: a change in another module must not find yesterday's machine code."""
    seen: dict[str, Any] = {}

    def visit(f: FunctionType) -> None:
        if f.__qualname__ in seen:
            return
        seen[f.__qualname__] = (f.__code__.co_code, repr(f.__code__.co_consts), f.__code__.co_names)
        for name in f.__code__.co_names:
            value = f.__globals__.get(name)
            if isinstance(value, FunctionType):
                visit(value)
            elif isinstance(value, int | float):
                seen[name] = value

    visit(function)
    return hashlib.sha256(repr(sorted(seen.items())).encode()).hexdigest()


def _deficit_loop(of: str) -> FunctionType:
    def humidity_deficit(temperature, pressure, humidity, out):
        """out = q*(T, p) - q: (time, cell) each, [K], [Pa], [1] -> [1]; as `equations.saturation_humidity`."""
        _ = of
        for t in range(len(out)):
            row, kelvin, pascal, specific = out[t], temperature[t], pressure[t], humidity[t]
            for i in range(len(row)):
                row[i] = saturation_humidity(np.float64(kelvin[i]), np.float64(pascal[i])) - np.float64(specific[i])

    return humidity_deficit


humidity_deficit = _finished(_deficit_loop, equations.saturation_humidity, "", {})
