"""Writes the op goldens of packages/ir: python tools/goldens/ir_ops.py packages/ir/test/data/ops.json.gz

Needs numpy and ml_dtypes. Every case is a node with its operands and the results that numpy gives. Data movement, casts
and single IEEE operations are computed in the dtype and must agree bit for bit; dot products, norms and attention are
computed in float64 from the same operands and carry the tolerance that rounding allows.
"""

import base64
import gzip
import json
import pathlib
import sys

import ml_dtypes
import numpy as np

import paged
import stochastic

rng = np.random.default_rng(20250117)
DTYPES = {
    "f32": np.float32, "bf16": ml_dtypes.bfloat16, "f16": np.float16, "f8e4m3fn": ml_dtypes.float8_e4m3fn,
    "f8e5m2": ml_dtypes.float8_e5m2, "f8e8m0fnu": ml_dtypes.float8_e8m0fnu, "i32": np.int32, "u8": np.uint8, "bool": np.bool_, "f64": np.float64,
}
NAMES = {np.dtype(value): name for name, value in DTYPES.items()}
LARGEST = {"f8e4m3fn": 448.0, "f8e5m2": 57344.0}
cases = []


def tensor(x):
    if x is None:
        return None
    x = np.asarray(x)
    return {"dtype": NAMES[x.dtype], "shape": list(x.shape), "base64": base64.b64encode(x.tobytes()).decode()}


def case(op, operands, attributes, results, tolerance=None):
    """`tolerance` is absolute, per element of the first result, or a list with one for each; the results are then f64."""
    entry = {"op": op, "attributes": attributes, "operands": [tensor(x) for x in operands]}
    if tolerance is None:
        entry["results"] = [tensor(x) for x in results]
    else:
        entry["results"] = [tensor(np.asarray(x, np.float64)) for x in results]
        spread = lambda t, x: tensor(np.broadcast_to(np.asarray(t, np.float64), np.shape(x)))
        is_list = isinstance(tolerance, list)
        entry["tolerance"] = list(map(spread, tolerance, results)) if is_list else spread(tolerance, results[0])
    cases.append(entry)


def normal(*shape, scale=1.0):
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def wide(x):
    return x.astype(np.float64)


def cast(x, to):
    """The saturating cast: ml_dtypes after clamping; a NaN becomes the positive one."""
    if to in LARGEST:
        x = np.clip(x, -LARGEST[to], LARGEST[to])
    y = x.astype(DTYPES[to])
    return np.where(np.isnan(x), np.array(np.nan, DTYPES[to]), y)


def spread(scales, shape, block):
    for axis, size in enumerate(block):
        size = size or shape[axis]
        scales = np.repeat(scales, size, axis=axis).take(range(shape[axis]), axis=axis)
    return scales


SPECIALS = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 3.4e38, -3.4e38, 1.0, -1.5, 2.5], np.float32)
A = np.repeat(SPECIALS, len(SPECIALS))
B = np.tile(SPECIALS, len(SPECIALS))


def elementwise():
    with np.errstate(all="ignore"):
        for op, f in {"add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide}.items():
            case(op, [A, B], {}, [f(A, B)])
            x, y = normal(50, scale=1e3), normal(50)
            case(op, [x, y], {}, [f(x, y)])
        case("sqrt", [A], {}, [np.sqrt(A)])
        for op, f in {"EQ": np.equal, "NE": np.not_equal, "LT": np.less, "LE": np.less_equal, "GT": np.greater, "GE": np.greater_equal}.items():
            case("compare", [A, B], {"direction": op}, [f(A, B)])
        for op, f in {"maximum": np.maximum, "minimum": np.minimum}.items():
            x, y = normal(40), normal(40)
            x[3], y[7] = np.nan, np.nan
            case(op, [x, y], {}, [f(x, y)])
    case("negate", [SPECIALS[:4]], {}, [-SPECIALS[:4]])
    case("abs", [SPECIALS[:4]], {}, [np.abs(SPECIALS[:4])])
    big = np.array([2**31 - 1, -(2**31), 65537, -7, 7, 0], np.int32)
    small = np.array([1, -1, 65537, 2, -2, 5], np.int32)
    for op, f in {"add": np.add, "subtract": np.subtract, "multiply": np.multiply, "maximum": np.maximum}.items():
        case(op, [big, small], {}, [f(big, small)])
    case("divide", [big[2:], small[2:]], {}, [np.trunc(big[2:] / small[2:]).astype(np.int32)])
    p, q = rng.random(20) < 0.5, rng.random(20) < 0.5
    case("and", [p, q], {}, [p & q])
    case("or", [p, q], {}, [p | q])
    case("not", [p], {}, [~p])
    x, y = normal(4, 5).astype(ml_dtypes.bfloat16), normal(4, 5).astype(ml_dtypes.bfloat16)
    case("select", [p.reshape(4, 5), x, y], {}, [np.where(p.reshape(4, 5), x, y)])


def movement():
    case("iota", [], {"dtype": "i32", "shape": [2, 3, 4], "axis": 1}, [np.broadcast_to(np.arange(3, dtype=np.int32)[:, None], (2, 3, 4))])
    case("iota", [], {"dtype": "f32", "shape": [3, 2], "axis": 0}, [np.broadcast_to(np.arange(3, dtype=np.float32)[:, None], (3, 2))])
    for value, dtype in [(0.1, "f32"), (0.1, "bf16"), (-3.3, "f16"), (1000.0, "f8e4m3fn"), (-7, "i32"), (1, "bool"), (-np.inf, "bf16")]:
        filled = cast(np.full((2, 3), value, np.float32), dtype) if dtype != "i32" else np.full((2, 3), value, np.int32)
        if np.isfinite(value):
            case("constant", [], {"value": value, "dtype": dtype, "shape": [2, 3]}, [filled])
    x = normal(2, 3, 4, 5)
    for permutation in [(0, 2, 1, 3), (3, 2, 1, 0), (1, 0, 3, 2), (0, 1, 2, 3), (2, 3, 0, 1)]:
        case("transpose", [x], {"permutation": permutation}, [x.transpose(permutation)])
    case("reshape", [x], {"shape": [6, 20]}, [x.reshape(6, 20)])
    case("slice", [x], {"start": [1, 0, 1, 0], "limit": [2, 3, 4, 5], "stride": [1, 2, 1, 3]}, [x[1:2, 0:3:2, 1:4, 0:5:3]])
    case("slice", [x], {"start": [0, 3, 0, 0], "limit": [2, 3, 4, 5], "stride": [1, 1, 1, 1]}, [x[:, 3:3]])
    b = normal(3, 1).astype(ml_dtypes.bfloat16)
    case("broadcast_in_dim", [b], {"shape": [2, 3, 4], "dims": [1, 2]}, [np.broadcast_to(b, (2, 3, 4))])
    case("broadcast_in_dim", [b], {"shape": [5, 2, 3], "dims": [2, 0]}, [np.broadcast_to(b.T.reshape(1, 1, 3), (5, 2, 3))])
    for axis in range(3):
        l, r = normal(2, 3, 4), normal(*[5 if i == axis else (2, 3, 4)[i] for i in range(3)])
        case("concatenate", [l, r], {"axis": axis}, [np.concatenate([l, r], axis)])
    table = normal(7, 6).astype(ml_dtypes.bfloat16)
    ids = rng.integers(0, 7, (3, 4)).astype(np.int32)
    case("gather", [table, ids], {"axis": 0}, [np.take(table, ids, 0)])
    picks = rng.integers(0, 4, (3, 2)).astype(np.int32)
    case("gather", [x, picks], {"axis": 2}, [np.take(x, picks, 2)])
    rows = rng.integers(0, 5, (2, 3)).astype(np.int32)
    batched = normal(2, 3, 5)
    case("gather", [batched, rows], {"axis": 2, "batch_dims": 2}, [np.take_along_axis(batched, rows[..., None], 2)[..., 0]])
    last = rng.integers(0, 3, (2,)).astype(np.int32)
    case("gather", [batched, last], {"axis": 1, "batch_dims": 1}, [batched[np.arange(2), last]])
    for axis, starts in [(1, [0, 4]), (1, [5, -2]), (2, [1, 9])]:
        shape = [2, 6, 4, 3]
        cache = normal(*shape).astype(ml_dtypes.bfloat16)
        update = normal(*[3 if i == axis else dim for i, dim in enumerate(shape)]).astype(ml_dtypes.bfloat16)
        result = cache.copy()
        for row, start in enumerate(starts):
            for t in range(3):
                if 0 <= start + t < shape[axis]:
                    if axis == 1:
                        result[row, start + t] = update[row, t]
                    else:
                        result[row, :, start + t] = update[row, :, t]
        case("dynamic_update_slice", [cache, update, np.array(starts, np.int32)], {"axis": axis}, [result])
    for axes in [(0,), (2,), (0, 2), (1, 3), (0, 1, 2, 3)]:
        case("reduce", [x], {"kind": "max", "axes": axes, "keep": True}, [x.max(axes, keepdims=True)])
        case("reduce", [x], {"kind": "min", "axes": axes}, [x.min(axes)])
    holed = x.copy()
    holed[1, 2, 3, 4] = np.nan
    case("reduce", [holed], {"kind": "max", "axes": [3]}, [holed.max(3)])


def casts():
    values = np.concatenate([SPECIALS[:4], SPECIALS[5:], normal(60, scale=100), normal(60, scale=0.01), np.array([np.nan, 464, 465, 61439, 61440], np.float32)])
    with np.errstate(all="ignore"):
        for to in ["bf16", "f16", "f8e4m3fn", "f8e5m2"]:
            case("convert", [values], {"to": to}, [cast(values, to)])
            if to in LARGEST:
                plain = np.where(np.isnan(values.astype(DTYPES[to]).astype(np.float32)) & ~np.isinf(values) & (np.abs(values) < 464), np.array(np.nan, DTYPES[to]), values.astype(DTYPES[to]))
                finite = np.abs(values) <= 448
                case("convert", [values[finite]], {"to": to, "saturate": False}, [plain[finite]])
            codes = cast(values, to)
            codes = codes[~np.isnan(codes.astype(np.float32))]
            case("convert", [codes], {"to": "f32"}, [codes.astype(np.float32)])
            case("convert", [codes], {"to": "f8e5m2"}, [cast(codes.astype(np.float32), "f8e5m2")])
    whole = np.array([0, 1, -1, 16777217, 2**31 - 1, -(2**31)], np.int32)
    case("convert", [whole], {"to": "f32"}, [whole.astype(np.float32)])
    case("convert", [np.array([1.9, -1.9, 0.5, 3e9, -3e9, np.nan, -0.0], np.float32)], {"to": "i32"}, [np.array([1, -1, 0, 2**31 - 1, -(2**31), 0, 0], np.int32)])
    case("convert", [np.array([True, False])], {"to": "f32"}, [np.array([1, 0], np.float32)])


def quantization():
    for shape, block in [((5, 300), (1, 128)), ((20, 37), (16, 16)), ((2, 3, 40), (1, 1, 32)), ((4, 7), (0, 0)), ((4, 7), (1, 0)), ((6, 5), (4, 1))]:
        x = normal(*shape, scale=30)
        counts = [1 if size == 0 else -(-dim // size) for dim, size in zip(shape, block)]
        largest = np.zeros(counts, np.float32)
        for index in np.ndindex(*shape):
            at = tuple(0 if size == 0 else i // size for i, size in zip(index, block))
            largest[at] = max(largest[at], abs(x[index]))
        case("amax", [x], {"block": block}, [largest])
        half = x.astype(ml_dtypes.bfloat16)
        scales = largest / np.float32(448)
        for to in ["f8e4m3fn", "f8e5m2"]:
            q = cast(x / spread(scales, shape, block), to)
            case("quantize", [x, scales], {"to": to, "block": block}, [q])
            restored = q.astype(np.float32) * spread(scales, shape, block)
            case("dequantize", [q, scales], {"to": "f32", "block": block}, [restored])
            case("dequantize", [q, scales], {"to": "bf16", "block": block}, [restored.astype(ml_dtypes.bfloat16)])
        powers = np.exp2(np.ceil(np.log2(wide(largest) / 448))).astype(ml_dtypes.float8_e8m0fnu)
        case("compute_scale", [largest], {"max": 448, "rounding": "none"}, [scales])
        case("compute_scale", [largest], {"max": 448, "rounding": "pow2_up", "to": "f8e8m0fnu"}, [powers])
        q = cast(half.astype(np.float32) / spread(powers.astype(np.float32), shape, block), "f8e4m3fn")
        case("quantize", [half, powers], {"to": "f8e4m3fn", "block": block}, [q])
        case("dynamic_quantize", [x], {"to": "f8e4m3fn", "block": block, "max": 448, "rounding": "none"}, [cast(x / spread(scales, shape, block), "f8e4m3fn"), scales])


def dot_tolerance(spec, a, b, k):
    """k roundings of 2^-24 relative to the sum of magnitudes, for products and for additions."""
    return 2 * (k + 4) * 2.0**-24 * np.einsum(spec, np.abs(a), np.abs(b)) + 1e-30


def dots():
    specs = [
        ("mk,nk->mn", (7, 300), (9, 300), [1], [1], [], []),
        ("mk,kn->mn", (3, 50), (50, 8), [1], [0], [], []),
        ("btk,nk->btn", (2, 3, 140), (5, 140), [2], [1], [], []),
        ("bthd,bshd->bhts", (2, 3, 4, 16), (2, 5, 4, 16), [3], [3], [0, 2], [0, 2]),
        ("bhts,bshd->bhtd", (2, 4, 3, 150), (2, 150, 4, 6), [3], [1], [0, 1], [0, 2]),
        ("k,k->", (33,), (33,), [0], [0], [], []),
    ]
    for spec, left, right, lc, rc, lb, rb in specs:
        for dtype in ["f32", "bf16", "f16", "f8e4m3fn"]:
            a, b = normal(*left).astype(DTYPES[dtype]), normal(*right).astype(DTYPES[dtype])
            attributes = {"lhs_contract": lc, "rhs_contract": rc, "lhs_batch": lb, "rhs_batch": rb}
            tolerance = dot_tolerance(spec, wide(a), wide(b), left[lc[0]])
            case("dot_general", [a, b], attributes, [np.einsum(spec, wide(a), wide(b))], tolerance)
    e4, e5 = normal(4, 70).astype(ml_dtypes.float8_e4m3fn), normal(3, 70).astype(ml_dtypes.float8_e5m2)
    case("dot_general", [e4, e5], {"lhs_contract": [1], "rhs_contract": [1]}, [wide(e4) @ wide(e5).T], dot_tolerance("mk,nk->mn", wide(e4), wide(e5), 70))
    for left_block, right_block, dtype in [((1, 128), (16, 128), "f32"), ((1, 32), (1, 32), "f8e8m0fnu"), ((0, 0), (0, 0), "f32"), (None, (16, 128), "f32"), ((1, 0), (1, 0), "f32"), (None, None, "f32")]:
        a, b = normal(5, 300).astype(ml_dtypes.float8_e4m3fn), normal(20, 300).astype(ml_dtypes.float8_e4m3fn)
        if left_block is None:
            a = normal(5, 300).astype(ml_dtypes.bfloat16)
        scales, full = [], []
        for x, block in [(a, left_block), (b, right_block)]:
            if block is None:
                scales.append(None)
                full.append(wide(x))
                continue
            counts = [1 if size == 0 else -(-dim // size) for dim, size in zip(x.shape, block)]
            s = np.exp2(rng.integers(-6, 6, counts)).astype(DTYPES[dtype]) if dtype != "f32" else np.exp(normal(*counts))
            scales.append(s)
            full.append(wide(x) * spread(wide(s), x.shape, block))
        attributes = {"lhs_contract": [1], "rhs_contract": [1], "lhs_block": left_block or [], "rhs_block": right_block or []}
        case("scaled_dot", [a, b, *scales], attributes, [full[0] @ full[1].T], dot_tolerance("mk,nk->mn", *full, 308))


def softmax64(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def composites():
    for shape, axis in [((4, 37), 1), ((3, 5, 4), 1), ((2, 129), 1), ((1, 1), 1)]:
        x = normal(*shape, scale=5)
        y = softmax64(wide(x), axis)
        case("softmax", [x], {"axis": axis}, [y], y * (1e-6 - np.log(y) * 2.0**-23))
        case("log_softmax", [x], {"axis": axis}, [np.log(y)], 2e-6 * (np.abs(np.log(y)) + 1))
    x = normal(3, 4, 50, scale=4)
    targets = rng.integers(0, 50, (3, 4)).astype(np.int32)
    logs = np.take_along_axis(np.log(softmax64(wide(x))), targets[..., None], 2)[..., 0]
    case("log_softmax_gather", [x, targets], {}, [logs], 2e-6 * (np.abs(logs) + 1))
    g, u = normal(6, 9, scale=4), normal(6, 9)
    y = wide(g) / (1 + np.exp(-wide(g)))
    case("silu", [g], {}, [y], 1e-6 * np.abs(y))
    case("swiglu", [g, u], {}, [y * wide(u)], 1e-6 * np.abs(y * u))
    x, w = normal(2, 3, 100), normal(100)
    y = wide(x) / np.sqrt((wide(x) ** 2).mean(-1, keepdims=True) + 1e-5) * wide(w)
    case("rms_norm", [x, w], {"eps": 1e-5}, [y], 2e-6 * np.abs(y) + 1e-30)
    case("bias_add", [x, w], {}, [wide(x) + wide(w)], 1e-6)
    for depth, rotated in [(8, 8), (10, 6)]:
        angle = np.outer(np.arange(20), 1.0 / 100.0 ** (np.arange(rotated // 2) / (rotated // 2)))
        cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
        x, position = normal(2, 5, 3, depth), np.array([4, 11], np.int32)
        y = wide(x).copy()
        for b in range(2):
            for t in range(5):
                z = wide(x[b, t, :, : rotated // 2]) + 1j * wide(x[b, t, :, rotated // 2 : rotated])
                z = z * (wide(cos) + 1j * wide(sin))[position[b] + t]
                y[b, t, :, : rotated // 2], y[b, t, :, rotated // 2 : rotated] = z.real, z.imag
        case("rope", [x, cos, sin, position], {}, [y], 1e-6)
    attention_cases()


def attention_cases():
    for dtype, heads, window in [("f32", 4, 0), ("bf16", 4, 0), ("f32", 2, 5), ("bf16", 1, 7), ("f8e4m3fn", 2, 0), ("f8e5m2", 2, 3)]:
        batch, queries, keys, depth = 2, 4, 19, 8
        position = np.array([3, 15], np.int32)
        q = normal(batch, queries, 4, depth)
        k, v = normal(batch, keys, heads, depth), normal(batch, keys, heads, depth)
        scales = [None, None]
        k64, v64 = wide(k), wide(v)
        if dtype != "f32":
            q, k, v = q.astype(ml_dtypes.bfloat16), k.astype(DTYPES[dtype]), v.astype(DTYPES[dtype])
            k64, v64 = wide(k), wide(v)
        if dtype == "f8e4m3fn":
            scales = [np.exp2(rng.integers(-1, 2, (batch, keys, heads, 1))).astype(ml_dtypes.float8_e8m0fnu) for _ in range(2)]
            k64, v64 = k64 * wide(scales[0]), v64 * wide(scales[1])
        y, spreads = np.zeros(q.shape), np.zeros(q.shape)
        for b, t, h in np.ndindex(batch, queries, 4):
            last = position[b] + t
            first = max(0, last - window + 1) if window else 0
            kv = h // (4 // heads)
            p = softmax64(k64[b, first : last + 1, kv] @ wide(q[b, t, h]) * 0.375)
            y[b, t, h] = p @ v64[b, first : last + 1, kv]
            spreads[b, t, h] = p @ np.abs(v64[b, first : last + 1, kv])
        probs = "f32" if dtype == "f32" else "bf16"
        operands = [q, k, v, position, *scales][: 6 if scales[0] is not None else 4]
        tolerance = (4e-6 if dtype == "f32" else 2.0**-8) * spreads
        case("attention", operands, {"scale": 0.375, "window": window, "probs": probs}, [y], tolerance)
        if dtype == "f8e4m3fn":
            # Half a step of E4M3 is 2^-4; below 2^-6 of the scaled range, 2^-10 of the largest.
            case("attention", operands, {"scale": 0.375, "window": window, "probs": "f8e4m3fn"}, [y], 2.0**-4 * spreads + 2.0**-10 * np.abs(v64).max())


def training_cases():
    table, updates = normal(7, 5), normal(3, 4, 5)
    ids = rng.integers(0, 7, (3, 4)).astype(np.int32)
    sums, magnitudes = wide(table), np.abs(wide(table))
    np.add.at(sums, ids, wide(updates))
    np.add.at(magnitudes, ids, np.abs(wide(updates)))
    case("scatter_add", [table, ids, updates], {}, [sums], 1e-6 * magnitudes)
    p, g, m = (wide(normal(4, 9)) for _ in range(3))
    v = np.square(wide(normal(4, 9)))
    rate, correction1, correction2 = 1e-2, 1 - 0.9**3, 1 - 0.99**3
    first, second = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
    y = p - p * rate * 0.1 - rate * (first / correction1) / (np.sqrt(second / correction2) + 1e-6)
    operands = [x.astype(np.float32) for x in (p, g, m, v)] + [np.array([x], np.float32) for x in (rate, correction1, correction2)]
    attributes = {"beta1": 0.9, "beta2": 0.99, "eps": 1e-6, "weight_decay": 0.1}
    case("adamw_step", operands, attributes, [y, first, second], 2e-6 * (np.abs(y) + 1))
    case("stop_gradient", [table], {}, [table])
    gradient_cases()


def gradient_cases():
    """From the derivatives as textbooks have them, not from the ops' bodies."""
    gate, up, dy = normal(6, 9, scale=3), normal(6, 9), normal(6, 9)
    s = 1 / (1 + np.exp(-wide(gate)))
    results = [wide(dy) * wide(up) * (s + wide(gate) * s * (1 - s)), wide(dy) * wide(gate) * s]
    case("swiglu_grad", [gate, up, dy], {}, results, 2e-6 * (1 + np.abs(wide(dy) * wide(up)) * np.abs(wide(gate))))
    x, w, dy = normal(2, 70, 30), normal(30), normal(2, 70, 30)
    r = 1 / np.sqrt((wide(x) ** 2).mean(-1, keepdims=True) + 1e-5)
    g = wide(dy) * wide(w)
    dx = g * r - wide(x) * r**3 * (g * wide(x)).mean(-1, keepdims=True)
    dweight = (wide(dy) * wide(x) * r).sum((0, 1))
    case("rms_norm_grad", [x, w, dy], {"eps": 1e-5}, [dx, dweight], [1e-5, 1e-4])
    x, dy = normal(3, 4, 50, scale=4), normal(3, 4)
    targets = rng.integers(0, 50, (3, 4)).astype(np.int32)
    one_hot = np.eye(50)[targets]
    case("log_softmax_gather_grad", [x, targets, dy], {}, [(one_hot - softmax64(wide(x))) * wide(dy)[..., None]], 2e-6 * np.abs(wide(dy))[..., None])
    for dtype, window in [("f32", 0), ("f32", 5), ("bf16", 0)]:
        attention_gradient_case(dtype, window)


def attention_gradient_case(dtype, window):
    batch, queries, keys, heads, shared, depth, scale = 2, 5, 19, 4, 2, 8, 0.375
    position, first = np.array([3, 13], np.int32), np.array([[0, 0, 2, 4, 4], [9, 9, 9, 16, 16]], np.int32)
    q, dy = normal(batch, queries, heads, depth), normal(batch, queries, heads, depth)
    k, v = normal(batch, keys, shared, depth), normal(batch, keys, shared, depth)
    if dtype == "bf16":
        q, k, v = (x.astype(ml_dtypes.bfloat16) for x in (q, k, v))
        dy = wide(dy.astype(ml_dtypes.bfloat16)).astype(np.float32)
    dq, dk, dv = np.zeros(q.shape), np.zeros(k.shape), np.zeros(v.shape)
    for b, t, h in np.ndindex(batch, queries, heads):
        last, kv = position[b] + t, h // (heads // shared)
        seen = np.arange(max(first[b, t], last - window + 1 if window else 0), last + 1)
        kk, vv, qq, gg = wide(k[b, seen, kv]), wide(v[b, seen, kv]), wide(q[b, t, h]), wide(dy[b, t, h])
        p = softmax64(kk @ qq * scale)
        jacobian = np.diag(p) - np.outer(p, p)
        slope = jacobian @ (vv @ gg) * scale
        dq[b, t, h] = slope @ kk
        dk[b, seen, kv] += np.outer(slope, qq)
        dv[b, seen, kv] += np.outer(p, gg)
    operands = [q, k, v, position, dy, None, None, first]
    results = [dq, dk, dv]
    tolerances = [(1e-5 if dtype == "f32" else 2.0**-6) * np.abs(y).max() for y in results]
    case("attention_grad", operands, {"scale": scale, "window": window, "probs": dtype}, results, tolerances)



def paged_attention_cases():
    """In float64 over the pages as numpy lays them out; a missing page is keys and values of zero."""
    batch, queries, heads, shared, depth = 2, 3, 4, 2, 8
    for dtype, slots in [("f32", 4), ("bf16", 16)]:
        q, k, v = normal(batch, queries, heads, depth), normal(7, slots, shared, depth), normal(7, slots, shared, depth)
        if dtype == "bf16":
            q, k, v = (x.astype(ml_dtypes.bfloat16) for x in (q, k, v))
        pages = np.array([[5, 2, -1, 3], [2, 9, 0, 6]], np.int32)
        position = np.array([3 * slots - 2, 2 * slots], np.int32)
        k64, v64 = wide(paged.laid_out(k, pages)), wide(paged.laid_out(v, pages))
        y, spreads = np.zeros(q.shape), np.zeros(q.shape)
        for b, t, h in np.ndindex(batch, queries, heads):
            seen, kv = slice(position[b] + t + 1), h // (heads // shared)
            p = softmax64(k64[b, seen, kv] @ wide(q[b, t, h]) * 0.375)
            y[b, t, h], spreads[b, t, h] = p @ v64[b, seen, kv], p @ np.abs(v64[b, seen, kv])
        tolerance = (4e-6 if dtype == "f32" else 2.0**-8) * spreads
        case("attention", [q, k, v, position, None, None, None, pages], {"scale": 0.375, "probs": dtype}, [y], tolerance)


elementwise()
movement()
casts()
quantization()
dots()
composites()
training_cases()
stochastic.cases(lambda _, *node: case("stochastic_quantize", *node))
paged.cases(lambda op, _, *node: case(op, *node))
paged_attention_cases()
target = pathlib.Path(sys.argv[1])
target.write_bytes(gzip.compress(json.dumps(cases, separators=(",", ":")).encode(), mtime=0))
print(len(cases), "cases by numpy", np.__version__, "and ml_dtypes", ml_dtypes.__version__)
