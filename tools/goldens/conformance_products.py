"""Conformance cases of quantization, matrix products and composites; called by conformance.py."""

import numpy as np

import canonical as c
import paged
from canonical import DTYPES, F32, LARGEST, cast

SUMS = {"snr_db": 100}
E4, E5, BF16 = "f8e4m3fn", "f8e5m2", "bf16"

# How each recipe cuts an operand of a product into blocks. `at` is the contracted axis of a matrix.
GRANULARITIES = {
    "block 128x128": {"lhs": lambda at: [128 if axis == at else 1 for axis in (0, 1)], "rhs": lambda at: [128, 128], "scale": "pow2"},
    "block 128x128, f32 scales": {"lhs": lambda at: [128 if axis == at else 1 for axis in (0, 1)], "rhs": lambda at: [128, 128], "scale": "f32"},
    "row": {"lhs": lambda at: [0 if axis == at else 1 for axis in (0, 1)], "rhs": lambda at: [0 if axis == at else 1 for axis in (0, 1)], "scale": "f32"},
    "tensor": {"lhs": lambda at: [0, 0], "rhs": lambda at: [0, 0], "scale": "f32"},
    "mx 1x32": {"lhs": lambda at: [32 if axis == at else 1 for axis in (0, 1)], "rhs": lambda at: [32 if axis == at else 1 for axis in (0, 1)], "scale": "f8e8m0fnu"},
}
# A forward product contracts the columns of both; dgrad the rows of the weights; wgrad the tokens of both.
LAYOUTS = {"forward": (1, 1), "dgrad": (1, 0), "wgrad": (0, 0)}


def label(shape):
    return "x".join(map(str, shape))


def generator(*key):
    """Seeded by what is asked for, so that equal operands of many cases are stored once."""
    return np.random.default_rng([abs(hash_of(part)) for part in key])


def hash_of(part):
    return part if isinstance(part, int) else int.from_bytes(str(part).encode()[:12].ljust(12), "little")


def values(dtype, shape, seed=0, scale=1.0):
    rng = generator(dtype, seed, *shape)
    return cast((rng.standard_normal(shape) * scale * 2.0 ** rng.integers(-4, 4, shape)).astype(F32), dtype)


def scales(kind, shape, seed=0):
    rng = generator(kind, seed, *shape)
    if kind == "f32":
        return np.exp(rng.standard_normal(shape)).astype(F32)
    powers = np.exp2(rng.integers(-9, 4, shape)).astype(F32)
    return powers if kind == "pow2" else cast(powers, kind)


def quantization(case):
    shapes = [((5, 300), (1, 128)), ((130, 37), (128, 128)), ((2, 3, 40), (1, 1, 32)), ((4, 7), (0, 0)), ((4, 7), (1, 0)), ((6, 5), (4, 1)), ((1,), (0,)), ((0, 7), (1, 128)), ((3, 0), (1, 0)), ((2, 5, 3, 16), (1, 1, 1, 0))]
    for shape, block in shapes:
        at = f"{label(shape)} by {label(block)}"
        x = values("f32", shape, scale=30)
        half = cast(x, BF16)
        for dtype, source in (("f32", x), (BF16, half)):
            largest = c.amax(source, block)
            case("amax", f"{dtype} {at}", [source], {"block": block}, [largest])
            for to in (E4, E5):
                for rounding, scale_dtype in (("none", "f32"), ("pow2_up", "f32"), ("pow2_up", "f8e8m0fnu"), ("pow2_nearest", "f32")):
                    s = c.scale_of(largest, LARGEST[to], rounding, scale_dtype)
                    q = c.quantize(source, s, to, block)
                    attributes = {"to": to, "block": block, "max": LARGEST[to], "rounding": rounding, "scale_dtype": scale_dtype}
                    case("dynamic_quantize", f"{dtype} to {to}, {rounding} {scale_dtype} scales, {at}", [source], attributes, [q, s])
                    if rounding == "pow2_nearest":
                        continue
                    name = f"{dtype} to {to}, {rounding} {scale_dtype} scales, {at}"
                    case("quantize", name, [source, s], {"to": to, "block": block}, [q])
                    case("dequantize", f"{to} to {dtype}, {rounding} {scale_dtype} scales, {at}", [q, s], {"to": dtype, "block": block}, [c.dequantize(q, s, dtype, block)])
    odd = values("f32", (6, 130))
    odd[0] = 0
    odd[1, 3], odd[2, 128], odd[3, 0] = np.inf, np.nan, -np.inf
    odd[4], odd[5] = 1e-40, 3e38
    attributes = {"block": [1, 128], "max": 448.0}
    largest = c.amax(odd, [1, 128])
    case("amax", "f32 zeros, Inf, NaN, subnormals", [odd], {"block": [1, 128]}, [largest])
    for rounding in ("none", "pow2_up"):
        s = c.scale_of(largest, 448.0, rounding)
        q = c.quantize(odd, s, E4, [1, 128])
        case("dynamic_quantize", f"zeros, Inf, NaN, subnormals, {rounding} scales", [odd], {**attributes, "to": E4, "rounding": rounding}, [q, s])
        case("quantize", f"zeros, Inf, NaN, subnormals, {rounding} scales", [odd, s], {"to": E4, "block": [1, 128]}, [q])
        case("quantize", f"not saturating, {rounding} scales", [odd, s], {"to": E4, "block": [1, 128], "saturate": False}, [c.quantize(odd, s, E4, [1, 128], False)])
    edges = np.concatenate([[0, np.inf, np.nan, 1e-45, 1e-38, 2.0**-126, 3.4e38, 448, 449, 447, 672, 671.9, 896, 57344, 1.5 * 57344], 2.0 ** np.arange(-140, 127, 13)]).astype(F32)
    edges = np.concatenate([edges, np.nextafter(edges[3:], F32(np.inf)), np.nextafter(edges[3:], F32(0))])
    for maximum in (448.0, 57344.0, 1.0, 127.5):
        for rounding in ("none", "pow2_up", "pow2_nearest"):
            for to in ("f32", "f8e8m0fnu") if rounding != "none" else ("f32",):
                case("compute_scale", f"max {maximum}, {rounding}, {to}", [edges], {"max": maximum, "rounding": rounding, "to": to}, [c.scale_of(edges, maximum, rounding, to)])
    for dtype in (E4, E5):
        codes = np.arange(256, dtype=np.uint8).view(DTYPES[dtype])
        for to in ("f32", BF16):
            for kind in ("f32", "f8e8m0fnu"):
                s = scales(kind, (1,))
                case("dequantize", f"every code of {dtype} to {to}, {kind} scale", [codes, s], {"to": to, "block": [0]}, [c.dequantize(codes, s, to, [0])])
    powers = np.arange(256, dtype=np.uint8).view(DTYPES["f8e8m0fnu"])
    ones = np.full((256, 1), 1.5, F32).astype(DTYPES[E4])
    case("dequantize", "every f8e8m0fnu scale", [ones, powers.reshape(256, 1)], {"to": "f32", "block": [1, 1]}, [c.dequantize(ones, powers.reshape(256, 1), "f32", [1, 1])])


def dot_general(case):
    dtypes = [("f32", "f32"), (BF16, BF16), ("f16", "f16"), (E4, E4), (E5, E5), (E4, E5), (E5, E4)]
    shapes = [((1, 1), (1, 1)), ((1, 128), (64, 128)), ((3, 7), (33, 7)), ((5, 300), (33, 300)), ((17, 129), (20, 129)), ((0, 5), (4, 5)), ((3, 5), (0, 5)), ((2, 0), (5, 0))]
    for left, right in dtypes:
        for a_shape, b_shape in shapes:
            a, b = values(left, a_shape, 1), values(right, b_shape, 2)
            y = c.dot(c.operand(a), c.operand(b))
            name = f"{left} x {right}, {label(a_shape)} by {label(b_shape)}"
            case("dot_general", name, [a, b], {"lhs_contract": [1], "rhs_contract": [1]}, [y], SUMS, parameters=[1])
        a, b, t = values(left, (40, 9), 3), values(right, (40, 33), 4), values(left, (9, 40), 5)
        case("dot_general", f"{left} x {right}, rows of the weights contracted", [t, b], {"lhs_contract": [1], "rhs_contract": [0]}, [c.dot(c.operand(t), c.operand(b.T))], SUMS, parameters=[1])
        case("dot_general", f"{left} x {right}, tokens of both contracted", [a, b], {"lhs_contract": [0], "rhs_contract": [0]}, [c.dot(c.operand(a.T), c.operand(b.T))], SUMS)
        q, k = values(left, (2, 3, 4, 16), 6), values(right, (2, 5, 4, 16), 7)
        y = c.dot(c.operand(q.transpose(0, 2, 1, 3)), c.operand(k.transpose(0, 2, 1, 3)))
        case("dot_general", f"{left} x {right}, two batch axes", [q, k], {"lhs_contract": [3], "rhs_contract": [3], "lhs_batch": [0, 2], "rhs_batch": [0, 2]}, [y], SUMS)
    a, b = values("f32", (2, 3, 200), 8), values("f32", (6, 200), 9)
    for promote in (1, 32, 1000):
        attributes = {"lhs_contract": [2], "rhs_contract": [1], "promote": promote}
        case("dot_general", f"f32 partial sums of {promote}", [a, b], attributes, [c.dot(c.rows_of(a, 2), b, promote).reshape(2, 3, 6)], SUMS)
    u, v = values("f32", (33,), 10), values("f32", (33,), 11)
    case("dot_general", "f32 vectors", [u, v], {"lhs_contract": [0], "rhs_contract": [0]}, [c.dot(u[None], v[None]).reshape(())], SUMS)
    tiny = cast(np.array([[2.0**-56, -(2.0**-57), 2.0**-60, 1, 2.0**-133, -0.0], [2.0**-55, 1.9 * 2.0**-57, 0, -1, 2.0**-80, 3]], F32), BF16)
    case("dot_general", "bf16 operands below 2^-56 are zero", [tiny, tiny], {"lhs_contract": [1], "rhs_contract": [1]}, [c.dot(c.operand(tiny), c.operand(tiny))], SUMS, parameters=[1])
    small = np.array([[1e-30, 2e-25, 3e-20], [1e-40, 1e-10, 5e-39]], F32)
    case("dot_general", "f32 subnormal products", [small, small], {"lhs_contract": [1], "rhs_contract": [1]}, [c.dot(small, small)], "bits", parameters=[1])
    odd = values("f32", (5, 140), 12)
    odd[1, 3], odd[2, 7], odd[3, 1], odd[3, 139] = np.inf, np.nan, np.inf, -np.inf
    case("dot_general", "f32 Inf and NaN stay in their rows", [odd, values("f32", (6, 140), 13)], {"lhs_contract": [1], "rhs_contract": [1]}, [c.dot(odd, values("f32", (6, 140), 13))], SUMS, parameters=[1])


def scaled_dot(case):
    pairs = [(E4, E4), (E4, E5), (E5, E4), (E5, E5), (BF16, E4), (E4, BF16), (BF16, BF16)]
    for layout, (at_a, at_b) in LAYOUTS.items():
        for left, right in pairs:
            for granularity, rule in GRANULARITIES.items():
                if left == right == BF16 and granularity != "tensor":
                    continue
                large = (left, right) == (E4, E4)
                sizes = [(5, 130, 300), (2, 3, 7)] if large else [(3, 20, 140)]
                if large and layout == "forward":
                    sizes += [(1, 64, 128), (17, 9, 257), (1, 1, 1), (0, 4, 64), (3, 4, 0)]
                if large and layout == "wgrad":
                    sizes = [(20, 40, 300), (3, 5, 7)]
                for m, n, k in sizes:
                    a_shape, b_shape = ((m, k) if at_a else (k, m)), ((n, k) if at_b else (k, n))
                    a, b = values(left, a_shape, 1), values(right, b_shape, 2)
                    block_a, block_b = rule["lhs"](at_a), rule["rhs"](at_b)
                    if layout == "wgrad":
                        block_b = rule["lhs"](at_b)
                    sa = None if left == BF16 else scales(rule["scale"], c.counts(a_shape, block_a), 1)
                    sb = None if right == BF16 else scales(rule["scale"], c.counts(b_shape, block_b), 2)
                    block_a, block_b = block_a if sa is not None else [], block_b if sb is not None else []
                    y = c.scaled_dot(a, b, sa, sb, block_a, block_b, at_a, at_b)
                    attributes = {"lhs_block": block_a, "rhs_block": block_b, "lhs_contract": [at_a], "rhs_contract": [at_b]}
                    kind = "no scales" if sa is None and sb is None else granularity
                    name = f"{layout}, {left} x {right}, {kind}, {m}x{n}x{k}"
                    parameters = [] if layout == "wgrad" else [1, 3] if sb is not None else [1]
                    case("scaled_dot", name, [a, b, sa, sb], attributes, [y], SUMS, parameters=parameters)
    a, b = values(E4, (2, 3, 200), 3), values(E4, (20, 200), 4)
    sa, sb = scales("f32", (2, 3, 2), 3), scales("f32", (1, 2), 4)
    attributes = {"lhs_block": [1, 1, 128], "rhs_block": [128, 128], "lhs_contract": [2], "rhs_contract": [1]}
    y = c.scaled_dot(a, b, sa, sb, [1, 1, 128], [128, 128], 2, 1)
    case("scaled_dot", "forward, a batch of sequences", [a, b, sa, sb], attributes, [y], SUMS, parameters=[1, 3])
    odd = values(E5, (4, 140), 5).copy()
    odd[1, 3], odd[2, 7], odd[3, 139] = np.inf, np.nan, -np.inf
    b = values(E4, (9, 140), 6)
    sa, sb = scales("f32", (4, 1), 5), scales("f32", (9, 1), 6)
    attributes = {"lhs_block": [1, 0], "rhs_block": [1, 0], "lhs_contract": [1], "rhs_contract": [1]}
    case("scaled_dot", "forward, Inf and NaN stay in their rows", [odd, b, sa, sb], attributes, [c.scaled_dot(odd, b, sa, sb, [1, 0], [1, 0], 1, 1)], SUMS, parameters=[1, 3])


def composites(case):
    for shape, axis in [((4, 37), 1), ((3, 5, 4), 1), ((2, 129), 1), ((1, 1), 1), ((2, 576), 1), ((0, 7), 1), ((40, 3), 0), ((7,), 0)]:
        x = values("f32", shape, scale=2)
        name = f"{label(shape)} along axis {axis}"
        case("softmax", name, [x], {"axis": axis}, [c.softmax(x, axis)], SUMS)
        case("log_softmax", name, [x], {"axis": axis}, [c.log_softmax(x, axis)], SUMS)
    odd = values("f32", (4, 20))
    odd[0, 3], odd[1, 7], odd[2, :] = -np.inf, np.nan, 1e4
    for op, f in (("softmax", c.softmax), ("log_softmax", c.log_softmax)):
        case(op, "-Inf, NaN and large values", [odd], {"axis": 1}, [f(odd)], SUMS)
    for shape in [(3, 4, 50), (2, 1), (5, 300), (0, 9)]:
        x, targets = values("f32", shape, scale=2), generator("t", *shape).integers(0, shape[-1], shape[:-1]).astype(np.int32)
        y = np.take_along_axis(c.log_softmax(x), targets[..., None], -1)[..., 0]
        case("log_softmax_gather", label(shape), [x, targets], {}, [y], SUMS)
    for shape in [(1,), (6, 9), (3, 129), (0, 5), (2, 3, 64)]:
        g, u = values("f32", shape, 1, 2), values("f32", shape, 2)
        case("silu", label(shape), [g], {}, [c.silu(g)], SUMS)
        case("swiglu", label(shape), [g, u], {}, [c.silu(g) * u], SUMS)
    ends = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 100, -100, -88, 88.8, 1e-40], F32)
    case("silu", "special values", [ends], {}, [c.silu(ends)], SUMS)
    with np.errstate(all="ignore"):
        case("swiglu", "special values", [ends, ends[::-1].copy()], {}, [c.silu(ends) * ends[::-1]], SUMS)
    for shape in [(1, 1), (2, 3, 100), (5, 576), (17, 15), (0, 8), (3, 129)]:
        x, w = values("f32", shape, 1), values("f32", shape[-1:], 2)
        case("rms_norm", label(shape), [x, w], {"eps": 1e-5}, [c.rms_norm(x, w, 1e-5)], SUMS, parameters=[1])
        case("bias_add", label(shape), [x, w], {}, [x + w], parameters=[1])
    zeros = np.zeros((2, 20), F32)
    case("rms_norm", "rows of zeros, no eps", [zeros, values("f32", (20,), 2)], {"eps": 0.0}, [c.rms_norm(zeros, values("f32", (20,), 2), 0.0)], SUMS)
    for batch, tokens, heads, depth, rotated, position in [(2, 5, 3, 8, 8, [4, 11]), (2, 5, 3, 10, 6, [0, 2]), (1, 1, 1, 2, 2, [19]), (3, 1, 2, 64, 64, [0, 7, 19]), (2, 0, 2, 8, 8, [0, 1]), (1, 20, 3, 20, 20, [0])]:
        angle = np.outer(np.arange(20), 1.0 / 100.0 ** (np.arange(rotated // 2) / (rotated // 2)))
        cos, sin = np.cos(angle).astype(F32), np.sin(angle).astype(F32)
        x, at = values("f32", (batch, tokens, heads, depth)), np.array(position, np.int32)
        case("rope", f"{label(x.shape)}, {rotated} rotated, from {label(position)}", [x, cos, sin, at], {}, [c.rope(x, cos, sin, at)], SUMS, parameters=[1, 2])
        each = generator("positions", batch, tokens).integers(0, 20, (batch, tokens)).astype(np.int32)
        case("rope", f"{label(x.shape)}, {rotated} rotated, a position for every token", [x, cos, sin, each], {}, [c.rope(x, cos, sin, each)], SUMS, parameters=[1, 2])


PACKED = [
    ("packed sequences", 2, 40, 40, 4, 2, 16, 0),
    ("packed sequences with a window", 1, 30, 150, 3, 1, 12, 9),
]


def packed(b, t, s):
    """The first key of every query: sequences of random lengths, and some that begin outside of what the query can see."""
    first = np.maximum.accumulate(np.where(generator("packed", b, t).random((b, t)) < 0.1, np.arange(s - t, s), 0), axis=1)
    first[0, 3], first[-1, -2], first[-1, -1] = -7, s, 2**31 - 1
    return first.astype(np.int32)


def attention(case):
    kinds = [("f32", "f32", False), (BF16, BF16, False), (BF16, E4, False), (E4, BF16, True), (E4, E4, True), (E5, BF16, True), (E4, BF16, False)]
    sizes = [
        ("one token", 1, 1, 1, 1, 1, 8, 0, [0]),
        ("decode", 2, 1, 140, 6, 2, 24, 0, [139, 17]),
        ("decode with a window", 2, 1, 140, 4, 1, 20, 13, [139, 5]),
        ("whole sequence", 1, 33, 33, 2, 2, 16, 0, [0]),
        ("a chunk in a longer cache", 3, 9, 31, 4, 4, 20, 0, [0, 7, 22]),
        ("a chunk with a window, grouped heads", 2, 20, 150, 3, 1, 12, 13, [0, 130]),
        ("no rows", 0, 1, 5, 2, 1, 8, 0, []),
        ("no queries", 1, 0, 5, 2, 1, 8, 0, [3]),
    ]
    for cache, probs, scaled in kinds:
        for what, b, t, s, hq, hkv, d, window, position in sizes:
            q = values("f32" if cache == "f32" else BF16, (b, t, hq, d), 1)
            k, v = values(cache, (b, s, hkv, d), 2), values(cache, (b, s, hkv, d), 3)
            ks, vs = (scales("f8e8m0fnu", (b, s, hkv, 1), seed) if scaled else None for seed in (1, 2))
            at = np.array(position, np.int32)
            y = c.attention(q, k, v, at, ks, vs, d**-0.5, window, probs)
            attributes = {"scale": d**-0.5, "window": window, "probs": probs}
            name = f"{cache} cache{', scaled' if scaled else ''}, {probs} probabilities, {what}"
            tolerance = SUMS if probs == "f32" else {"snr_db": 40} if probs == BF16 else {"snr_db": 20}
            case("attention", name, [q, k, v, at, ks, vs], attributes, [y], tolerance)
        for what, b, t, s, hq, hkv, d, window in PACKED:
            q = values("f32" if cache == "f32" else BF16, (b, t, hq, d), 1)
            k, v = values(cache, (b, s, hkv, d), 2), values(cache, (b, s, hkv, d), 3)
            ks, vs = (scales("f8e8m0fnu", (b, s, hkv, 1), seed) if scaled else None for seed in (1, 2))
            at, first = np.full(b, s - t, np.int32), packed(b, t, s)
            y = c.attention(q, k, v, at, ks, vs, d**-0.5, window, probs, first)
            attributes = {"scale": d**-0.5, "window": window, "probs": probs}
            tolerance = SUMS if probs == "f32" else {"snr_db": 40} if probs == BF16 else {"snr_db": 20}
            case("attention", f"{cache} cache{', scaled' if scaled else ''}, {probs} probabilities, {what}", [q, k, v, at, ks, vs, first], attributes, [y], tolerance)



def paged_attention(case):
    """Pages in any order, shared, missing and out of range."""
    kinds = [("f32", "f32", False), (BF16, BF16, False), (E4, BF16, True), (E4, E4, True), (E5, BF16, True), (E4, BF16, False)]
    sizes = [
        ("decode", 2, 1, 16, 6, 2, 24, 0, [[8, 3, 5, 0, 7, 1, 2, 6, 4], [9, 14, 10, 11, 12, 13, -1, -1, -1]], [139, 83]),
        ("decode with a window", 2, 1, 16, 4, 1, 20, 37, [[4, 2, 0], [5, 1, 3]], [46, 31]),
        ("a chunk", 2, 20, 32, 4, 4, 16, 0, [[4, 2, 0], [5, 1, 3]], [50, 12]),
        ("a shared prefix", 3, 1, 16, 2, 1, 48, 0, [[1, 0], [1, 2], [1, 3]], [16, 20, 31]),
        ("pages of five tokens", 2, 3, 5, 2, 2, 12, 0, [[4, 2, 0], [5, 1, 3]], [9, 2]),
        ("missing pages", 2, 5, 16, 2, 2, 16, 0, [[4, -1, 0], [2**31 - 1, 1, 6]], [30, 42]),
        ("no pages at all", 2, 2, 16, 2, 2, 16, 0, [[], []], [0, 3]),
    ]
    for cache, probs, scaled in kinds:
        for what, b, t, slots, hq, hkv, d, window, pages, position in sizes:
            pages, at = np.array(pages, np.int32).reshape(b, -1), np.array(position, np.int32)
            count = 15 if what == "decode" else 6
            q = values("f32" if cache == "f32" else BF16, (b, t, hq, d), 1)
            k, v = (values(cache, (count, slots, hkv, d), seed) for seed in (2, 3))
            ks, vs = (scales("f8e8m0fnu", (count, slots, hkv, 1), seed) if scaled else None for seed in (1, 2))
            dense = [None if x is None else paged.laid_out(x, pages) for x in (k, v, ks, vs)]
            y = c.attention(q, *dense[:2], at, *dense[2:], d**-0.5, window, probs)
            attributes = {"scale": d**-0.5, "window": window, "probs": probs}
            tolerance = SUMS if probs == "f32" else {"snr_db": 40} if probs == BF16 else {"snr_db": 20}
            name = f"{cache} pages{', scaled' if scaled else ''}, {probs} probabilities, {what}"
            case("attention", name, [q, k, v, at, ks, vs, None, pages], attributes, [y], tolerance)


def add(files):
    for group in (quantization, dot_general, scaled_dot, composites, attention):
        group(files.case)
