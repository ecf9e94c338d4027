"""Runs a model through its forcing: compiled loops on the CPU, or torch where gradients or a GPU are wanted.

Time comes first, cells last: forcing (time, cell), theta (parameter, 12 months or 1, [candidate,] cell), state (state,
[candidate,] cell), outputs (time, variable, [candidate,] cell). Candidates share the forcing. The state that a run
returns begins the next: a run cut in two is the whole run bit for bit, so a century is a chain of years.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from sciml.core.errors import ConfigError, InputError
from sciml.land import compiled, equations
from sciml.land.models import Model, Scheme, Step, check_parameters

Backend = Literal["compiled", "torch"]


class Forcing(Protocol):
    """What a run asks of a forcing: dates (time,) datetime64[D], evenly spaced, each the first day of its step, and one
    attribute (time, cell) for each of `Model.forcings`; fluxes are means over the step."""

    @property
    def dates(self) -> np.ndarray: ...


def simulate(
    model: Model,
    forcing: Forcing,
    theta: Any,
    state: Any,
    *,
    scheme: Scheme = "explicit",
    backend: Backend = "compiled",
    device: str = "cpu",
    outputs: Sequence[str] | None = None,
    out: np.ndarray | None = None,
    check: bool = True,
) -> tuple[Any, Any]:
    """-> outputs (time, variable, [candidate,] cell), state after the last step.

    outputs: names of states and fluxes, the model's own if None; states are those at the end of the step. `out` is
    filled where given, float64 or float32 (compiled back end alone). With the back end torch, tensors in (theta, state
    or a forcing) give tensors out, on `device` and with their graph; arrays give arrays. check: refuse parameters out
    of bounds.
    """
    names = tuple(model.outputs if outputs is None else outputs)
    rows = [model.row(name) for name in names]
    if check:
        check_parameters(model, theta.detach().cpu().numpy() if isinstance(theta, Tensor) else np.asarray(theta))
    if backend == "torch":
        return _simulate_torch(model, forcing, theta, state, scheme, device, rows)
    if backend != "compiled" or device != "cpu":
        raise ConfigError(f"backend {backend!r} on device {device!r}: expected compiled on cpu, or torch")
    theta, state, single = _with_candidates(model, theta, state)
    fields = _fields(model, forcing, theta.shape[-1])
    shape = (len(fields[0]), len(rows), *state.shape[1:])
    target = np.empty(shape) if out is None else out.reshape(shape)
    if out is not None and not np.shares_memory(target, out):
        raise ConfigError("out: not contiguous; give an array that is, or none")
    nothing = np.empty((len(fields[0]), 0, shape[-1])), np.empty((0, shape[-1])), np.zeros(shape[2:])
    _run(model, scheme, forcing, fields, theta, state, (rows, target), ([], *nothing))
    if single:
        return target[:, :, 0] if out is None else out, state[:, 0]
    return target, state


def squared_errors(
    model: Model,
    forcing: Forcing,
    theta: np.ndarray,
    state: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    names: Sequence[str],
    *,
    scheme: Scheme = "explicit",
) -> tuple[np.ndarray, np.ndarray]:
    """Sum over time and variables of weight (value - target)^2, for each [candidate and] cell, and the last state.

    targets: (time, variable, cell) in the order of `names`, NaN where there is none; weights: (variable,) or
    (variable, cell). Nothing else is stored, and theta is not checked: a search keeps to its bounds.
    """
    rows = [model.row(name) for name in names]
    theta, state, single = _with_candidates(model, theta, state)
    fields = _fields(model, forcing, theta.shape[-1])
    expected = (len(fields[0]), len(rows), theta.shape[-1])
    if targets.shape != expected:
        raise InputError(f"targets: shape {targets.shape}, expected (time, variable, cell) {expected}")
    weights = np.ascontiguousarray(np.broadcast_to(weights.reshape(len(rows), -1), expected[1:]), np.float64)
    errors = np.zeros(state.shape[1:])
    kept = np.empty((expected[0], 0, *errors.shape))
    targets = np.ascontiguousarray(targets, np.float64)
    _run(model, scheme, forcing, fields, theta, state, ([], kept), (rows, targets, weights, errors))
    return (errors[0], state[:, 0]) if single else (errors, state)


def chain(
    model: Model,
    forcings: Iterable[Forcing],
    theta: Any,
    state: Any,
    *,
    buffer: np.ndarray | None = None,
    **options: Any,
) -> Iterator[tuple[Forcing, Any, Any]]:
    """Each forcing with its outputs and the state after it, one after the other: memory is that of one of them.

    buffer: where outputs are written, each over the last (time of the longest, variable, [candidate,] cell); new memory
    for every part can cost more than what is computed. The rest goes to `simulate`.
    """
    for forcing in forcings:
        out = None if buffer is None else buffer[: len(forcing.dates)]
        values, state = simulate(model, forcing, theta, state, out=out, **options)
        yield forcing, values, state


def humidity_deficit(
    temperature: np.ndarray, pressure: np.ndarray, humidity: np.ndarray, out: np.ndarray | None = None
) -> np.ndarray:
    """q*(T, p) - q: (time, cell) each; temperature [K], pressure [Pa], specific humidity [1] -> [1]."""
    out = np.empty(temperature.shape) if out is None else out
    compiled.humidity_deficit(temperature, pressure, humidity, out)
    return out


def months_of(dates: np.ndarray) -> np.ndarray:
    """0 to 11 for each date."""
    return dates.astype("datetime64[M]").astype(np.int64) % 12


def step_days(dates: np.ndarray) -> float:
    """Length of a step [day]; 1 for a single date. Between daily dates a missing 29 February is no gap: some calendars
    have none."""
    gaps = np.diff(dates.astype("datetime64[D]")).astype(np.int64)
    skipped = dates[:-1].astype("datetime64[D]") + 1
    day = (skipped - skipped.astype("datetime64[M]").astype("datetime64[D]")).astype(int) + 1
    daily = len(gaps) and np.median(gaps) == 1
    gaps[(gaps == 2) & (months_of(skipped) == 1) & (day == 29) & bool(daily)] = 1
    uneven = np.flatnonzero(gaps != gaps[0]) if len(gaps) else gaps
    if len(uneven) or (len(gaps) and gaps[0] < 1):
        place = int(uneven[0]) if len(uneven) else 0
        raise InputError(
            f"forcing: {dates[place + 1]} follows {dates[place]}, expected steps of {max(gaps[0], 1)} days: fill the "
            "gap or run the parts apart"
        )
    return float(gaps[0]) if len(gaps) else 1.0


def _fields(model: Model, forcing: Forcing, cells: int) -> tuple[np.ndarray, ...]:
    """The model's forcing as contiguous arrays of one type; no copy where it is so already."""
    arrays = [np.asarray(getattr(forcing, name)) for name in model.forcings]
    kind = np.float32 if all(a.dtype == np.float32 for a in arrays) else np.float64
    for name, array in zip(model.forcings, arrays, strict=True):
        if array.shape != (len(forcing.dates), cells):
            raise InputError(f"forcing {name}: shape {array.shape}, expected (time, cell) {len(forcing.dates), cells}")
    return tuple(np.ascontiguousarray(a, kind) for a in arrays)


def _with_candidates(model: Model, theta: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
    """theta (parameter, month, candidate, cell), a new state (state, candidate, cell), and whether there was none."""
    theta, state = np.asarray(theta, np.float64), np.array(state, np.float64)
    single = theta.ndim == 3
    if single:
        theta, state = theta[:, :, None], state[:, None]
    elif state.ndim == 2:  # one beginning for all candidates
        state = np.repeat(state[:, None], theta.shape[2], axis=1)
    if state.shape != (len(model.states), *theta.shape[2:]):
        raise InputError(
            f"state of model {model.name}: shape {state.shape}, expected {len(model.states)} states "
            f"({', '.join(model.states)}) for {theta.shape[2]} candidates and {theta.shape[3]} cells"
        )
    return np.ascontiguousarray(theta), np.ascontiguousarray(state), single


def _run(model, scheme, forcing, fields, theta, state, kept, scored) -> None:
    loop = compiled.compiled(
        _step(model, scheme), len(model.states), len(model.forcings), len(model.parameters), len(model.fluxes)
    )
    shift = len(model.forcings) + len(model.parameters)  # they lie between states and fluxes

    def rows(chosen: Sequence[int]) -> np.ndarray:
        return np.array([r if r < len(model.states) else r + shift for r in chosen], np.int64)

    months = months_of(forcing.dates) if theta.shape[1] == 12 else np.zeros(len(forcing.dates), np.int64)
    which, bounds = _segments(months)
    (picked, out), (chosen, targets, weights, errors) = kept, scored
    lanes = errors.size
    loop(fields, theta.reshape(*theta.shape[:2], lanes), state.reshape(len(state), lanes), which, bounds,
         rows(picked), out.reshape(len(out), len(picked), lanes),
         rows(chosen), targets, weights, errors.reshape(lanes), step_days(forcing.dates))  # fmt: skip


def _segments(months: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Runs of days of one month, none too long for the cache: month of each, and where each begins, then the end."""
    starts = set(range(0, len(months), compiled.SEGMENT)) | set((np.flatnonzero(np.diff(months)) + 1).tolist())
    bounds = np.array([*sorted(starts), len(months)], np.int64)
    return months[bounds[:-1]], bounds


def _step(model: Model, scheme: Scheme) -> Step:
    if scheme not in model.steps:
        raise ConfigError(f"scheme {scheme!r}: model {model.name} has {', '.join(model.steps)}")
    return model.steps[scheme]


def _minimum(x: Any, y: Any) -> Tensor:
    return torch.minimum(x, y) if isinstance(y, Tensor) else torch.clamp(x, max=y)


def _maximum(x: Any, y: Any) -> Tensor:
    return torch.maximum(x, y) if isinstance(y, Tensor) else torch.clamp(x, min=y)


TORCH_NAMES = {"exp": torch.exp, "log": torch.log, "power": torch.pow, "sqrt": torch.sqrt, "where": torch.where,
               "minimum": _minimum, "maximum": _maximum}  # fmt: skip


@cache
def torch_step(step: Step) -> Step:
    """The step on tensors."""
    return equations.bound(step, TORCH_NAMES)


def _simulate_torch(
    model: Model, forcing: Forcing, theta: Any, state: Any, scheme: Scheme, device: str, rows: Sequence[int]
) -> tuple[Any, Any]:
    given = [getattr(forcing, name) for name in model.forcings]
    tensors = any(isinstance(x, Tensor) for x in (theta, state, *given))
    theta, state, *fields = (torch.as_tensor(x, dtype=torch.float64, device=device) for x in (theta, state, *given))
    if theta.ndim == 4 and state.ndim == 2:
        state = state[:, None].expand(-1, theta.shape[2], -1)
    step = torch_step(_step(model, scheme))
    months = months_of(forcing.dates) if theta.shape[1] == 12 else np.zeros(len(forcing.dates), np.int64)
    days = step_days(forcing.dates)
    by_month = [theta[:, month].unbind(0) for month in range(theta.shape[1])]
    now, kept = state.unbind(0), []
    for t, month in enumerate(months):
        # zeros where a flux does not depend on the candidate would not stack
        now, fluxes = step(now, tuple(f[t] for f in fields), by_month[month], days)
        values = (*now, *fluxes)
        kept.append(torch.stack([values[r].expand(state.shape[1:]) for r in rows]))
    result = torch.stack(kept), torch.stack(now)
    return result if tensors else tuple(x.numpy(force=True) for x in result)
