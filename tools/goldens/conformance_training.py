"""Vectors of the ops that training adds: scatter_add, adamw_step, stop_gradient and the gradients."""

import ml_dtypes
import numpy as np

import canonical as c
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


def gradients(case):
    for shape in [(1,), (6, 9), (2, 3, 129), (0, 5)]:
        gate, up, dy = normal(*shape, scale=3), normal(*shape), normal(*shape)
        case("swiglu_grad", "x".join(map(str, shape)), [gate, up, dy], {}, list(c.swiglu_grad(gate, up, dy)), SUMS)
    ends = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 100, -100, -88, 88.8, 1e-40], F32)
    case("swiglu_grad", "special values", [ends, ends[::-1].copy(), np.ones(10, F32)], {}, list(c.swiglu_grad(ends, ends[::-1], np.ones(10, F32))), SUMS)
    for shape in [(1, 1), (2, 3, 100), (64, 17), (150, 40), (0, 8), (3, 129)]:
        x, w, dy = normal(*shape), normal(shape[-1]), normal(*shape)
        case("rms_norm_grad", "x".join(map(str, shape)), [x, w, dy], {"eps": 1e-5}, list(c.rms_norm_grad(x, w, dy, 1e-5)), SUMS, parameters=[1])
    for shape in [(3, 4, 50), (2, 1), (5, 300), (0, 9)]:
        x, dy = normal(*shape, scale=2), normal(*shape[:-1])
        targets = rng.integers(0, shape[-1], shape[:-1]).astype(np.int32)
        case("log_softmax_gather_grad", "x".join(map(str, shape)), [x, targets, dy], {}, [c.log_softmax_gather_grad(x, targets, dy)], SUMS)
    x, dy, targets = normal(4, 7), normal(4), np.array([-1, 7, 6, 2**31 - 1], np.int32)
    case("log_softmax_gather_grad", "targets out of range", [x, targets, dy], {}, [c.log_softmax_gather_grad(x, targets, dy)], SUMS)


def attention_grad(case):
    kinds = [("f32", "f32", False), ("bf16", "bf16", False), ("bf16", "f8e4m3fn", False), ("f8e4m3fn", "bf16", True), ("f8e5m2", "bf16", True), ("f8e4m3fn", "f8e4m3fn", False)]
    sizes = [
        ("one token", 1, 1, 1, 1, 1, 8, 0, [0], False),
        ("a whole sequence, grouped heads", 2, 30, 30, 6, 2, 12, 0, [0, 0], False),
        ("a chunk in a longer cache", 2, 9, 140, 2, 2, 8, 0, [131, 20], False),
        ("a window", 1, 40, 50, 3, 1, 8, 13, [10], False),
        ("packed sequences", 1, 140, 140, 2, 1, 4, 0, [0], True),
        ("no queries", 1, 0, 5, 2, 1, 8, 0, [3], False),
    ]
    for cache, probs, scaled in kinds:
        for what, b, t, s, hq, hkv, d, window, position, packed in sizes:
            kind = "f32" if cache == "f32" else "bf16"
            q, dy = c.cast(normal(b, t, hq, d), kind), normal(b, t, hq, d)
            k, v = (c.cast(normal(b, s, hkv, d), cache) for _ in range(2))
            ks, vs = (c.cast(2.0 ** rng.integers(-3, 3, (b, s, hkv, 1)).astype(F32), "f8e8m0fnu") if scaled else None for _ in range(2))
            first = np.maximum.accumulate(np.where(rng.random((b, t)) < 0.05, np.arange(t), 0), axis=1).astype(np.int32) if packed else None
            at = np.array(position, np.int32)
            results = c.attention_grad(q, k, v, at, dy, ks, vs, d**-0.5, window, probs, first)
            attributes = {"scale": d**-0.5, "window": window, "probs": probs}
            name = f"{cache} cache{', scaled' if scaled else ''}, {probs} probabilities, {what}"
            tolerance = SUMS if probs == "f32" else {"snr_db": 35} if probs == "bf16" else {"snr_db": 15}
            case("attention_grad", name, [q, k, v, at, dy, ks, vs, first], attributes, list(results), tolerance)


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
    gradients(files.case)
    attention_grad(files.case)
