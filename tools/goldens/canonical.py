"""The arithmetic of docs/numerics.md in numpy: every operation rounded to float32, sums in the canonical order.

Needs numpy and ml_dtypes. Nothing here was ported from the TypeScript: casts are ml_dtypes', sums are written from the text,
and exp and log are Cephes' expf and logf (S. L. Moshier, netlib cephes/single) with each operation rounded to float32.
"""

import ml_dtypes
import numpy as np

F32 = np.float32
DTYPES = {
    "f32": np.float32, "bf16": ml_dtypes.bfloat16, "f16": np.float16, "f8e4m3fn": ml_dtypes.float8_e4m3fn,
    "f8e5m2": ml_dtypes.float8_e5m2, "f8e8m0fnu": ml_dtypes.float8_e8m0fnu, "i32": np.int32, "u8": np.uint8, "bool": np.bool_,
}
NAMES = {np.dtype(value): name for name, value in DTYPES.items()}
LARGEST = {"f8e4m3fn": 448.0, "f8e5m2": 57344.0, "f8e8m0fnu": 2.0**127}


def wide(x):
    """Any float tensor as float32, exactly."""
    return np.asarray(x).astype(F32)


def cast(x, to, saturate=True):
    """float32 to a format: round to nearest even; saturating casts clamp first; every NaN becomes the positive one."""
    x = np.asarray(x, F32)
    with np.errstate(all="ignore"):
        if saturate and to == "f8e8m0fnu":
            x = np.minimum(x, F32(LARGEST[to]))
        elif saturate and to in LARGEST:
            x = np.clip(x, -LARGEST[to], LARGEST[to])
        y = x.astype(DTYPES[to])
        if to == "f32":
            return y
        return np.where(np.isnan(x), np.array(np.nan, DTYPES[to]), y)


def operand(x):
    """What a dot product reads: bf16 magnitudes below 2^-56 count as +0."""
    y = wide(x)
    if np.asarray(x).dtype == DTYPES["bf16"]:
        y = np.where(np.abs(y) < 2.0**-56, F32(0), y)
    return y


def dot(a, b, segment=128, scale_a=None, scale_b=None):
    """a[..., M, K] and b[..., N, K] as float32 to [..., M, N]. Scales have one element per row and segment."""
    k = a.shape[-1]
    y = np.zeros((*a.shape[:-1], b.shape[-2]), F32)
    with np.errstate(all="ignore"):
        for s, start in enumerate(range(0, k, segment)):
            part = np.zeros_like(y)
            for i in range(start, min(k, start + segment)):
                part = part + a[..., :, None, i] * b[..., None, :, i]
            if scale_a is not None or scale_b is not None:
                left = F32(1) if scale_a is None else scale_a[:, None, s]
                right = F32(1) if scale_b is None else scale_b[None, :, s]
                part = part * (left * right)
            y = y + part
    return y


def row_sum(x, axis=-1):
    """Sum along one axis: 16 interleaved partial sums, then the fixed tree. Keeps the axis with size 1."""
    x = np.moveaxis(x, axis, -1)
    partials = np.zeros((*x.shape[:-1], 16), F32)
    with np.errstate(all="ignore"):
        for i in range(x.shape[-1]):
            partials[..., i % 16] = partials[..., i % 16] + x[..., i]
        for width in (8, 4, 2, 1):
            partials[..., :width] = partials[..., :width] + partials[..., width : 2 * width]
    return np.moveaxis(partials[..., :1], -1, axis)


def polynomial(coefficients, x):
    y = np.full_like(x, F32(coefficients[0]))
    for c in coefficients[1:]:
        y = y * x + F32(c)
    return y


def exp(x):
    x = np.asarray(x, F32)
    with np.errstate(all="ignore"):
        n = np.rint(x * F32(1.44269504088896341)).astype(F32)
        n = np.where(np.isfinite(n), n, F32(0))
        r = x - n * F32(0.693359375)
        r = r - n * F32(-2.12194440e-4)
        p = polynomial([1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1], r)
        y = p * (r * r)
        y = y + r
        y = y + F32(1)
        y = np.ldexp(y, n.astype(np.int32)).astype(F32)
    y = np.where(x > F32(88.72283172607422), F32(np.inf), y)
    y = np.where(x < F32(-87.33654022216797), F32(0), y)
    return np.where(np.isnan(x), F32(np.nan), y)


def log(x):
    x = np.asarray(x, F32)
    with np.errstate(all="ignore"):
        m, e = np.frexp(x)
        small = m < F32(0.707106781186547524)
        e = np.where(small, e - 1, e).astype(F32)
        m = np.where(small, (m + m) - F32(1), m - F32(1))
        z = m * m
        p = polynomial(
            [7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1], m
        )
        y = (p * m) * z
        y = y + e * F32(-2.12194440e-4)
        y = y - F32(0.5) * z
        y = (m + y) + e * F32(0.693359375)
    y = np.where(x == 0, F32(-np.inf), y)
    y = np.where(np.isposinf(x), x, y)
    return np.where(np.isnan(x) | (x < 0), F32(np.nan), y)


def shifted(x, axis):
    with np.errstate(all="ignore"):
        return x - x.max(axis, keepdims=True, initial=-np.inf)


def softmax(x, axis=-1):
    e = exp(shifted(x, axis))
    with np.errstate(all="ignore"):
        return e / row_sum(e, axis)


def log_softmax(x, axis=-1):
    d = shifted(x, axis)
    with np.errstate(all="ignore"):
        return d - log(row_sum(exp(d), axis))


def silu(x):
    with np.errstate(all="ignore"):
        return x / (F32(1) + exp(-x))


def rms_norm(x, weight, eps):
    with np.errstate(all="ignore"):
        mean = row_sum(x * x) / F32(x.shape[-1])
        return (x * (F32(1) / np.sqrt(mean + F32(eps)))) * weight


def rope(x, cos, sin, position):
    half = cos.shape[1]
    at = position if position.ndim == 2 else position[:, None] + np.arange(x.shape[1])
    c, s = cos[at][:, :, None, :], sin[at][:, :, None, :]
    a, b = x[..., :half], x[..., half : 2 * half]
    with np.errstate(all="ignore"):
        return np.concatenate([a * c - b * s, b * c + a * s, x[..., 2 * half :]], -1)


def counts(shape, block):
    return [1 if size == 0 else -(-dim // size) for dim, size in zip(shape, block)]


def spread(scales, shape, block):
    """One scale per element, from one per block; block 0 is the whole axis."""
    for axis, size in enumerate(block):
        scales = np.repeat(scales, size or shape[axis], axis=axis).take(range(shape[axis]), axis=axis)
    return scales


def amax(x, block):
    largest = np.zeros(counts(x.shape, block), F32)
    x = np.abs(wide(x))
    for index in np.ndindex(*x.shape):
        at = tuple(0 if size == 0 else i // size for i, size in zip(index, block))
        value = x[index]
        largest[at] = value if np.isnan(value) or value > largest[at] else largest[at]
    return largest


def scale_of(largest, maximum, rounding, to="f32"):
    """Exact: products of a power of two and a float32 have no rounding in float64."""
    result = np.ones(largest.shape, F32)
    for index in np.ndindex(*largest.shape):
        a, m = float(largest[index]), float(F32(maximum))
        if a == 0 or not np.isfinite(a):
            continue
        if rounding == "none":
            result[index] = max(F32(a) / F32(m), F32(2.0**-126))
            continue
        e = int(np.floor(np.log2(a / m))) - 2
        while 2.0**e * m < a:
            e += 1
        if rounding == "pow2_nearest" and a < 1.5 * 2.0 ** (e - 1) * m:
            e -= 1
        result[index] = 2.0 ** min(max(e, -126), 127)
    return result if to == "f32" else cast(result, to)


def quantize(x, scale, to, block, saturate=True):
    with np.errstate(all="ignore"):
        return cast(wide(x) / spread(wide(scale), x.shape, block), to, saturate)


def dequantize(q, scale, to, block):
    with np.errstate(all="ignore"):
        return cast(wide(q) * spread(wide(scale), q.shape, block), to)


def rows_of(x, contract):
    """A dot operand as [rows, K]: free axes flattened in their order, the contracted one last."""
    x = np.moveaxis(x, contract, -1)
    return x.reshape(-1, x.shape[-1]) if x.size else x.reshape(int(np.prod(x.shape[:-1])), x.shape[-1])


def scaled_dot(a, b, scale_a, scale_b, block_a, block_b, contract_a, contract_b, promote=128):
    k_blocks = [block[axis] for block, axis in ((block_a, contract_a), (block_b, contract_b)) if block and block[axis] > 0]
    segment = min([promote, *k_blocks])

    def per_segment(scale, x, block, contract):
        if scale is None:
            return None
        full = rows_of(spread(wide(scale), x.shape, block), contract)
        return full[:, ::segment]

    left, right = rows_of(operand(a), contract_a), rows_of(operand(b), contract_b)
    y = dot(left, right, segment, per_segment(scale_a, a, block_a, contract_a), per_segment(scale_b, b, block_b, contract_b))
    free = [dim for axis, dim in enumerate(a.shape) if axis != contract_a] + [dim for axis, dim in enumerate(b.shape) if axis != contract_b]
    return y.reshape(free)


def visibility(q, k, position, window, first_key):
    """[B, T, S]: which keys each query sees."""
    query = position[:, None] + np.arange(q.shape[1])
    key = np.arange(k.shape[1])
    visible = key <= query[..., None]
    if window:
        visible &= key > query[..., None] - window
    if first_key is not None:
        visible &= key >= np.minimum(first_key, query)[..., None]
    return visible


def attention_probabilities(q, k, v, position, scale_k, scale_v, scale, window, probs, first_key):
    """Keys and values as the query heads see them, probabilities [B, Hq, T, S] in float32, and rounded ones."""

    def restored(x, s):
        if x.dtype not in (DTYPES["f8e4m3fn"], DTYPES["f8e5m2"]):
            return x
        return cast(wide(x), "bf16") if s is None else dequantize(x, s, "bf16", [1, 1, 1, 0])

    group = q.shape[2] // k.shape[2]
    keys, values = (np.repeat(restored(x, s), group, axis=2) for x, s in ((k, scale_k), (v, scale_v)))
    scores = dot(operand(q).transpose(0, 2, 1, 3), operand(keys).transpose(0, 2, 1, 3))
    visible = visibility(q, k, position, window, first_key)
    with np.errstate(all="ignore"):
        p = softmax(np.where(visible[:, None], scores * F32(scale), F32(-np.inf)))
    rounded = p
    if probs == "bf16":
        rounded = cast(p, "bf16")
    elif probs == "f8e4m3fn":
        unit = np.full((1, 1, 1, 1), 2.0**-8, F32)
        rounded = dequantize(quantize(p, unit, "f8e4m3fn", [0] * 4), unit, "bf16", [0] * 4)
    return keys, values, p, rounded


def attention(q, k, v, position, scale_k, scale_v, scale, window, probs, first_key=None):
    _, values, _, rounded = attention_probabilities(q, k, v, position, scale_k, scale_v, scale, window, probs, first_key)
    return dot(operand(rounded), operand(values).transpose(0, 2, 3, 1)).transpose(0, 2, 1, 3)


def attention_grad(q, k, v, position, dy, scale_k, scale_v, scale, window, probs, first_key=None):
    keys, values, p, rounded = attention_probabilities(q, k, v, position, scale_k, scale_v, scale, window, probs, first_key)
    kind = "f32" if k.dtype == F32 else "bf16"
    dy = cast(dy, kind)
    by_head = operand(dy).transpose(0, 2, 1, 3)
    with np.errstate(all="ignore"):
        dp = dot(by_head, operand(values).transpose(0, 2, 1, 3))
        ds = cast((p * (dp - row_sum(dp * p))) * F32(scale), kind)
    dq = dot(operand(ds), operand(keys).transpose(0, 2, 3, 1)).transpose(0, 2, 1, 3)
    batch, tokens, heads, depth = q.shape
    shared = k.shape[2]
    count = tokens * (heads // shared)

    def key_gradient(weights, rows):
        """Query rows in the order of tokens, and of heads within a token; a fresh sum every 64 rows."""
        left = weights.reshape(batch, shared, heads // shared, tokens, k.shape[1]).transpose(0, 1, 4, 3, 2).reshape(batch, shared, k.shape[1], count)
        right = rows.reshape(batch, tokens, shared, heads // shared, depth).transpose(0, 2, 4, 1, 3).reshape(batch, shared, depth, count)
        return dot(left, right, 64).transpose(0, 2, 1, 3)

    return dq, key_gradient(operand(ds), operand(q)), key_gradient(operand(rounded), operand(dy))


def rms_norm_grad(x, weight, dy, eps):
    n = x.shape[-1]
    with np.errstate(all="ignore"):
        r = F32(1) / np.sqrt(row_sum(x * x) / F32(n) + F32(eps))
        m, w = x * r, dy * weight
        dx = r * (w - m * (row_sum(w * m) / F32(n)))
        rows = (dy * m).reshape(int(np.prod(x.shape[:-1])), n)
    return dx, dot(np.ones((1, len(rows)), F32), rows.T, 64)[0]


def swiglu_grad(gate, up, dy):
    with np.errstate(all="ignore"):
        s = F32(1) / (F32(1) + exp(-gate))
        return (dy * up) * (s * (F32(1) + gate * (F32(1) - s))), dy * (gate * s)


def log_softmax_gather_grad(x, targets, dy):
    hit = (np.arange(x.shape[-1]) == targets[..., None]).astype(F32)
    with np.errstate(all="ignore"):
        return (hit - softmax(x)) * dy[..., None]
