"""A whole training run of one small LSTM in one compiled call.

For short sequences and some hundred samples, autograd and optimiser spend far more time between operations than in
them. Here the forward equations of `torch.nn.LSTM` (one layer, a linear head on the last hidden state), their exact
gradient and Adam with decoupled weight decay run without leaving compiled code. Samples are the innermost axis of every
array, so each loop runs over neighbouring numbers. Works in float32 and float64, whichever its arrays have.

A row of parameters holds W_x (4H, F), W_h (4H, H), b_x (4H), b_h (4H), w (H), b (1); gates in the order i, f, g, o.
"""

import numba
import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.floating]

LANES = 16  # callers pad samples to whole vectors, with weight 0: no loop has a remainder

# sums may be reordered to use vectors; NaN and infinity keep their meaning
_compiled = numba.njit(fastmath={"contract", "reassoc", "nsz", "arcp"}, error_model="numpy", nogil=True, cache=True)
# One unit of compilation for each entry point: where parts are compiled apart, the order of sums depends on which of
# them came from the cache, and the same job would end in other bits the second time.
_inlined = numba.njit(inline="always")


@_compiled
def predict(parameters: Reals, inputs: Reals, hidden_size: int) -> Reals:
    """parameters: (parameter,); inputs: (lag, feature, sample) -> (sample,)."""
    gates, cells, squashed, hidden = _workspace(inputs, hidden_size)
    output = np.empty_like(inputs[0, 0])
    _forward(parameters, inputs, hidden_size, gates, cells, squashed, hidden, output)
    return output


@_compiled
def loss_and_gradient(
    parameters: Reals, inputs: Reals, target: Reals, weight: Reals, hidden_size: int
) -> tuple[float, Reals]:
    """sum(weight (y - target)^2) and its derivative by every parameter. weight sums to 1 over the samples."""
    gates, cells, squashed, hidden = _workspace(inputs, hidden_size)
    output = np.empty_like(target)
    gradient = np.zeros_like(parameters)
    back = np.zeros((3, hidden_size, len(target)), inputs.dtype)
    _forward(parameters, inputs, hidden_size, gates, cells, squashed, hidden, output)
    loss = _backward(
        parameters, inputs, target, weight, hidden_size, gates, cells, squashed, hidden, output, back, gradient
    )
    return loss, gradient


@_compiled
def train(
    parameters: Reals,
    inputs: Reals,
    target: Reals,
    weight: Reals,
    hidden_size: int,
    learning_rates: Reals,
    weight_decay: float,
) -> Reals:
    """Parameters after one full-batch step of AdamW for each entry of learning_rates.

    inputs: (lag, feature, sample); target, weight: (sample,), weight sums to 1; learning_rates: (step,).
    beta = 0.9, 0.999, epsilon = 1e-8: Loshchilov and Hutter 2019, Algorithm 2, as torch.optim.AdamW.
    """
    real = parameters.dtype.type
    gates, cells, squashed, hidden = _workspace(inputs, hidden_size)
    output = np.empty_like(target)
    back = np.zeros((3, hidden_size, len(target)), inputs.dtype)
    row = parameters.copy()
    gradient, first, second = np.zeros_like(row), np.zeros_like(row), np.zeros_like(row)
    for step in range(len(learning_rates)):
        gradient[:] = real(0)
        _forward(row, inputs, hidden_size, gates, cells, squashed, hidden, output)
        _backward(row, inputs, target, weight, hidden_size, gates, cells, squashed, hidden, output, back, gradient)
        rate = learning_rates[step]
        size = real(rate / (1.0 - 0.9 ** (step + 1)))
        keep = real(1.0 - rate * weight_decay)
        unbias = real(1.0 / (1.0 - 0.999 ** (step + 1)))
        for p in range(len(row)):
            slope = gradient[p]
            first[p] = real(0.9) * first[p] + real(0.1) * slope
            second[p] = real(0.999) * second[p] + real(0.001) * slope * slope
            row[p] = keep * row[p] - size * first[p] / (np.sqrt(second[p] * unbias) + real(1e-8))
    return row


@_inlined
def _workspace(inputs: Reals, hidden_size: int) -> tuple[Reals, Reals, Reals, Reals]:
    lags, _, samples = inputs.shape
    gates = np.empty((lags, 4 * hidden_size, samples), inputs.dtype)
    cells = np.zeros((lags + 1, hidden_size, samples), inputs.dtype)
    squashed = np.empty((lags, hidden_size, samples), inputs.dtype)
    hidden = np.zeros((lags + 1, hidden_size, samples), inputs.dtype)
    return gates, cells, squashed, hidden


@_inlined
def _split(row: Reals, features: int, hidden_size: int) -> tuple[Reals, Reals, Reals, Reals, Reals]:
    gates = 4 * hidden_size
    a = gates * features
    b = a + gates * hidden_size
    c = b + gates
    d = c + gates
    return row[:a].reshape(gates, features), row[a:b].reshape(gates, hidden_size), row[b:c], row[c:d], row[d:]


@_inlined
def _forward(
    row: Reals,
    inputs: Reals,
    hidden_size: int,
    gates: Reals,
    cells: Reals,
    squashed: Reals,
    hidden: Reals,
    output: Reals,
) -> None:
    """Fills gates (lag, 4H, sample) after their activations, cells and hidden (lag + 1, H, sample; index 0 is zero)."""
    lags, features, _ = inputs.shape
    w_x, w_h, b_x, b_h, head = _split(row, features, hidden_size)
    for lag in range(lags):
        gate = gates[lag]
        for j in range(4 * hidden_size):
            gate[j] = b_x[j] + b_h[j]
        _add_product(gate, w_x, inputs[lag])
        if lag > 0:
            _add_product(gate, w_h, hidden[lag])
        for j in range(hidden_size):
            _cell(
                gate[j],
                gate[hidden_size + j],
                gate[2 * hidden_size + j],
                gate[3 * hidden_size + j],
                cells[lag, j],
                cells[lag + 1, j],
                squashed[lag, j],
                hidden[lag + 1, j],
            )
    output[:] = head[hidden_size]
    for j in range(hidden_size):
        slope, value = head[j], hidden[lags, j]
        for n in range(len(output)):
            output[n] += slope * value[n]


@_inlined
def _cell(i: Reals, f: Reals, g: Reals, o: Reals, before: Reals, cell: Reals, squashed: Reals, hidden: Reals) -> None:
    for n in range(len(cell)):
        i[n] = _sigmoid(i[n])
        f[n] = _sigmoid(f[n])
        g[n] = _tanh(g[n])
        o[n] = _sigmoid(o[n])
        cell[n] = f[n] * before[n] + i[n] * g[n]
        squashed[n] = _tanh(cell[n])
        hidden[n] = o[n] * squashed[n]


@_inlined
def _backward(
    row: Reals,
    inputs: Reals,
    target: Reals,
    weight: Reals,
    hidden_size: int,
    gates: Reals,
    cells: Reals,
    squashed: Reals,
    hidden: Reals,
    output: Reals,
    back: Reals,
    gradient: Reals,
) -> float:
    """Adds the loss's derivative to `gradient`; gates are overwritten by the derivatives before their activations."""
    lags, features, samples = inputs.shape
    real = row.dtype.type
    _, w_h, _, _, head = _split(row, features, hidden_size)
    d_w_x, d_w_h, d_b_x, d_b_h, d_head = _split(gradient, features, hidden_size)
    w_h_transposed = np.ascontiguousarray(w_h.T)
    d_hidden, d_cell, d_output = back[0], back[1], back[2, 0]
    loss = 0.0
    for n in range(samples):
        error = output[n] - target[n]
        loss += weight[n] * error * error
        d_output[n] = real(2) * weight[n] * error
    d_head[hidden_size] += d_output.sum()
    for j in range(hidden_size):
        total = real(0)
        for n in range(samples):
            total += d_output[n] * hidden[lags, j, n]
            d_hidden[j, n] = head[j] * d_output[n]
            d_cell[j, n] = real(0)
        d_head[j] += total
    for lag in range(lags - 1, -1, -1):
        gate = gates[lag]
        for j in range(hidden_size):
            _cell_backward(
                gate[j],
                gate[hidden_size + j],
                gate[2 * hidden_size + j],
                gate[3 * hidden_size + j],
                cells[lag, j],
                squashed[lag, j],
                d_hidden[j],
                d_cell[j],
            )
        for j in range(4 * hidden_size):
            total = gate[j].sum()
            d_b_x[j] += total
            d_b_h[j] += total
        _add_outer(d_w_x, gate, inputs[lag])
        if lag > 0:
            _add_outer(d_w_h, gate, hidden[lag])
            d_hidden[:] = real(0)
            _add_product(d_hidden, w_h_transposed, gate)
    return loss


@_inlined
def _cell_backward(
    i: Reals, f: Reals, g: Reals, o: Reals, before: Reals, squashed: Reals, d_hidden: Reals, d_cell: Reals
) -> None:
    """Gate activations become derivatives by what went into them; d_cell becomes that of the cell one lag earlier."""
    one = before.dtype.type(1)
    for n in range(len(before)):
        t = squashed[n]
        dc = d_cell[n] + d_hidden[n] * o[n] * (one - t * t)
        o[n] = d_hidden[n] * t * o[n] * (one - o[n])
        d_cell[n] = dc * f[n]
        f[n] = dc * before[n] * f[n] * (one - f[n])
        d_i = dc * g[n] * i[n] * (one - i[n])
        g[n] = dc * i[n] * (one - g[n] * g[n])
        i[n] = d_i


@_inlined
def _add_product(z: Reals, w: Reals, x: Reals) -> None:
    """z (J, N) += w (J, K) x (K, N), in blocks of 4 x 4 so that a loaded vector serves four times; J divides by 4."""
    rows, inner = w.shape
    for j in range(0, rows - 3, 4):
        z0, z1, z2, z3 = z[j], z[j + 1], z[j + 2], z[j + 3]
        w0, w1, w2, w3 = w[j], w[j + 1], w[j + 2], w[j + 3]
        blocked = inner - inner % 4
        for k in range(0, blocked, 4):
            x0, x1, x2, x3 = x[k], x[k + 1], x[k + 2], x[k + 3]
            a0, a1, a2, a3 = w0[k], w0[k + 1], w0[k + 2], w0[k + 3]
            b0, b1, b2, b3 = w1[k], w1[k + 1], w1[k + 2], w1[k + 3]
            c0, c1, c2, c3 = w2[k], w2[k + 1], w2[k + 2], w2[k + 3]
            d0, d1, d2, d3 = w3[k], w3[k + 1], w3[k + 2], w3[k + 3]
            for n in range(z.shape[1]):
                p, q, r, s = x0[n], x1[n], x2[n], x3[n]
                z0[n] += a0 * p + a1 * q + a2 * r + a3 * s
                z1[n] += b0 * p + b1 * q + b2 * r + b3 * s
                z2[n] += c0 * p + c1 * q + c2 * r + c3 * s
                z3[n] += d0 * p + d1 * q + d2 * r + d3 * s
        for k in range(blocked, inner):
            x0, a0, b0, c0, d0 = x[k], w0[k], w1[k], w2[k], w3[k]
            for n in range(z.shape[1]):
                p = x0[n]
                z0[n] += a0 * p
                z1[n] += b0 * p
                z2[n] += c0 * p
                z3[n] += d0 * p
    for j in range(rows - rows % 4, rows):
        z0 = z[j]
        for k in range(inner):
            a0, x0 = w[j, k], x[k]
            for n in range(z.shape[1]):
                z0[n] += a0 * x0[n]


@_inlined
def _add_outer(d: Reals, z: Reals, x: Reals) -> None:
    """d (J, K) += z (J, N) x (K, N)^T, J divides by 4."""
    zero = d.dtype.type(0)
    rows, inner = d.shape
    for j in range(0, rows, 4):
        z0, z1, z2, z3 = z[j], z[j + 1], z[j + 2], z[j + 3]
        blocked = inner - inner % 2
        for k in range(0, blocked, 2):
            x0, x1 = x[k], x[k + 1]
            a0 = a1 = b0 = b1 = c0 = c1 = d0 = d1 = zero
            for n in range(z.shape[1]):
                p, q = x0[n], x1[n]
                r, s, t, u = z0[n], z1[n], z2[n], z3[n]
                a0 += r * p
                a1 += r * q
                b0 += s * p
                b1 += s * q
                c0 += t * p
                c1 += t * q
                d0 += u * p
                d1 += u * q
            d[j, k] += a0
            d[j, k + 1] += a1
            d[j + 1, k] += b0
            d[j + 1, k + 1] += b1
            d[j + 2, k] += c0
            d[j + 2, k + 1] += c1
            d[j + 3, k] += d0
            d[j + 3, k + 1] += d1
        for k in range(blocked, inner):
            x0 = x[k]
            a0 = b0 = c0 = d0 = zero
            for n in range(z.shape[1]):
                p = x0[n]
                a0 += z0[n] * p
                b0 += z1[n] * p
                c0 += z2[n] * p
                d0 += z3[n] * p
            d[j, k] += a0
            d[j + 1, k] += b0
            d[j + 2, k] += c0
            d[j + 3, k] += d0


@_inlined
def _tanh(x: float) -> float:
    """tanh without a branch, so that a loop over it uses vectors; absolute error below 1e-12 in float64.

    tanh x = (1 - e) / (1 + e), e = exp(-2x) = 2^k exp(r), |r| <= ln 2 / 2, exp(r) by its Taylor series to r^10.
    """
    real = type(x)
    y = real(-2) * min(max(x, real(-18)), real(18))
    k = np.floor(y * real(1.4426950408889634) + real(0.5))
    r = (
        y - k * real(0.693359375) + k * real(2.121944400546905827679e-4)
    )  # ln 2 in two parts: k times the first is exact
    p = real(1.0 / 3628800.0)
    p = p * r + real(1.0 / 362880.0)
    p = p * r + real(1.0 / 40320.0)
    p = p * r + real(1.0 / 5040.0)
    p = p * r + real(1.0 / 720.0)
    p = p * r + real(1.0 / 120.0)
    p = p * r + real(1.0 / 24.0)
    p = p * r + real(1.0 / 6.0)
    p = p * r + real(0.5)
    p = p * r + real(1)
    p = p * r + real(1)
    # 2^k from the bits of a float32, exact for every k that can occur
    e = p * real(np.int32((np.int32(k) + np.int32(127)) << np.int32(23)).view(np.float32))
    return (real(1) - e) / (real(1) + e)


@_inlined
def _sigmoid(x: float) -> float:
    real = type(x)
    return real(0.5) + real(0.5) * _tanh(real(0.5) * x)
