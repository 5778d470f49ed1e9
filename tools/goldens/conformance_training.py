"""Vectors of the ops that training adds: scatter_add, adamw_step and stop_gradient."""

import ml_dtypes
import numpy as np

from canonical import F32

rng = np.random.default_rng(20261126)
SUMS = {"snr_db": 100}
ULP = {"ulp": 4}
FLOATS = [F32, ml_dtypes.bfloat16, np.float16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, ml_dtypes.float8_e8m0fnu]


def normal(*shape, scale=1.0):
    return (rng.standard_normal(shape) * scale).astype(F32)


def scatter_add(operand, indices, updates):
    """Row by row, ascending: the order of the additions is part of the meaning."""
    y = operand.copy()
    rows = updates.reshape(indices.size, *operand.shape[1:])
    for i, index in enumerate(indices.ravel()):
        y[index] = (y[index] + rows[i]).astype(F32)
    return y


def adamw(p, g, m, v, rate, correction1, correction2, beta1, beta2, eps, weight_decay):
    f = F32
    first = m * f(beta1) + g * f(1 - beta1)
    second = v * f(beta2) + (g * g) * f(1 - beta2)
    decay = p * (rate * f(weight_decay))
    direction = (first / correction1) / (np.sqrt(second / correction2) + f(eps))
    return (p - decay) - rate * direction, first, second


def add(files):
    for shape, count in [((5, 3), (7,)), ((1, 1), (40,)), ((67, 130), (3, 33)), ((9,), (20,)), ((4, 3), (0,)), ((4, 0), (5,))]:
        operand, updates = normal(*shape), normal(*count, *shape[1:])
        indices = rng.integers(0, shape[0], count).astype(np.int32)
        name = f"{'x'.join(map(str, shape))} with {'x'.join(map(str, count))} updates"
        files.case("scatter_add", name, [operand, indices, updates], {}, [scatter_add(operand, indices, updates)], SUMS)
    settings = [
        (1, {}),
        (3, {"weight_decay": 0.1}),
        (1000, {"beta1": 0.95, "beta2": 0.98, "eps": 1e-6, "weight_decay": 0.01}),
    ]
    for shape in [(1,), (3, 67), (0, 5), (2, 3, 128)]:
        for t, given in settings:
            a = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0, **given}
            p, g, m = normal(*shape), normal(*shape, scale=0.1), normal(*shape, scale=0.05)
            v = np.square(normal(*shape, scale=0.05))
            step = [np.array([x], F32) for x in (3e-4, 1 - a["beta1"] ** t, 1 - a["beta2"] ** t)]
            name = f"{'x'.join(map(str, shape))} step {t}"
            files.case("adamw_step", name, [p, g, m, v, *step], a, list(adamw(p, g, m, v, *step, **a)), ULP)
    for dtype in FLOATS:
        x = normal(3, 67).astype(dtype) if dtype != ml_dtypes.float8_e8m0fnu else (2.0 ** rng.integers(-9, 9, (3, 67))).astype(dtype)
        files.case("stop_gradient", f"3x67 {np.dtype(dtype).name}", [x], {}, [x])
    files.case("stop_gradient", "0x5", [normal(0, 5)], {}, [normal(0, 5)])
