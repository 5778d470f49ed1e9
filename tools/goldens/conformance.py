"""Writes the vectors of @quaver/conformance: python tools/goldens/conformance.py packages/conformance/vectors

Needs numpy and ml_dtypes. Expected results come from canonical.py, in float32 and in the order that docs/numerics.md fixes, so
an executor that promises row invariance must give their bits. The tolerance of a case is for executors without that promise.
"""

import pathlib
import sys

import ml_dtypes
import numpy as np

import canonical as c
import conformance_products
import conformance_training
import paged
import stochastic
from canonical import DTYPES, F32, cast
from vector_files import VectorFiles

files = VectorFiles()
case = files.case
rng = np.random.default_rng(20250301)
ULP = {"ulp": 4}
SUMS = {"snr_db": 100}
INTEGERS = ("i32", "u8", "bool")

SPECIALS = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 3.4e38, -3.4e38, 1.0, -1.5, 2.5], F32)
PAIRS = np.repeat(SPECIALS, len(SPECIALS)), np.tile(SPECIALS, len(SPECIALS))
SHAPES = [(1,), (3, 67), (0, 5), (2, 3, 128)]


def label(shape):
    return "x".join(map(str, shape)) or "scalar"


def normal(*shape, scale=1.0):
    return (rng.standard_normal(shape) * scale).astype(F32)


def raw(dtype, *shape):
    """Any bits: what only moves data must keep them. (NaNs of f32 may change their payload, so f32 has none.)"""
    if dtype == "bool":
        return rng.random(shape) < 0.5
    if dtype == "f32":
        return normal(*shape, scale=100)
    size = np.dtype(DTYPES[dtype]).itemsize
    bits = rng.integers(0, 256, (*shape, size), dtype=np.uint8)
    return np.ascontiguousarray(bits).view(DTYPES[dtype]).reshape(shape)


def larger(a, b):
    return np.where((a == 0) & (b == 0), a + b, np.maximum(a, b))


def smaller(a, b):
    return -larger(-a, -b)


def elementwise():
    binary = {"add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide, "maximum": larger, "minimum": smaller}
    big = np.array([2**31 - 1, -(2**31), -(2**31), 65537, -7, 7, 0, 5, 0], np.int32)
    small = np.array([1, -1, 2, 65537, 2, -2, 5, 0, 0], np.int32)
    quotients = np.array([2**31 - 1, -(2**31), -(2**30), 1, -3, -3, 0, 0, 0], np.int32)
    integer = {**binary, "divide": lambda a, b: quotients, "maximum": np.maximum, "minimum": np.minimum}
    compares = {"EQ": np.equal, "NE": np.not_equal, "LT": np.less, "LE": np.less_equal, "GT": np.greater, "GE": np.greater_equal}
    with np.errstate(all="ignore"):
        for op, f in binary.items():
            case(op, "f32 special values", PAIRS, {}, [f(*PAIRS)])
            case(op, "i32 wraps", [big, small], {}, [integer[op](big, small)])
            for shape in SHAPES:
                x, y = normal(*shape, scale=1e3), normal(*shape)
                case(op, f"f32 {label(shape)}", [x, y], {}, [f(x, y)])
        for direction, f in compares.items():
            case("compare", f"{direction} f32 special values", PAIRS, {"direction": direction}, [f(*PAIRS)])
            case("compare", f"{direction} i32", [big, small], {"direction": direction}, [f(big, small)])
        case("compare", "LT f32 0x5", [normal(0, 5), normal(0, 5)], {"direction": "LT"}, [np.zeros((0, 5), np.bool_)])
        unary = {"negate": np.negative, "abs": np.abs, "sqrt": np.sqrt, "exp": c.exp, "log": c.log}
        for op, f in unary.items():
            tolerance = ULP if op in ("exp", "log") else "bits"
            case(op, "f32 special values", [SPECIALS], {}, [f(SPECIALS)], tolerance)
            for shape in SHAPES:
                x = normal(*shape, scale=30)
                x = np.abs(x) if op in ("log", "sqrt") else x
                case(op, f"f32 {label(shape)}", [x], {}, [f(x)], tolerance)
        edges = np.array([88.72283, 88.72284, 88.72285, -87.33653, -87.33654, -87.33655, -100, 1e-8, 0.34657, 0.34658], F32)
        case("exp", "f32 ends of the range", [edges], {}, [c.exp(edges)], ULP)
        near = np.concatenate([F32(1) + np.arange(-60, 60).astype(F32) * F32(2.0**-23), np.array([1e-40, 2.0**-126, 3.4e38, 0.70710677, 0.7071068], F32)])
        case("log", "f32 near one and at the ends", [near], {}, [c.log(near)], ULP)
    for shape in SHAPES:
        p, q = raw("bool", *shape), raw("bool", *shape)
        case("and", f"bool {label(shape)}", [p, q], {}, [p & q])
        case("or", f"bool {label(shape)}", [p, q], {}, [p | q])
        case("not", f"bool {label(shape)}", [p], {}, [~p])
    for dtype in DTYPES:
        for shape in [(4, 17), (0, 3)]:
            p, x, y = raw("bool", *shape), raw(dtype, *shape), raw(dtype, *shape)
            case("select", f"{dtype} {label(shape)}", [p, x, y], {}, [pick(p, x, y)])


def pick(p, x, y):
    """np.where by bytes: it must not touch the bits of a NaN."""
    out = y.copy()
    out[p] = x[p]
    return out


def movement():
    for dtype in ["i32", "f32"]:
        for shape, axis in [((1,), 0), ((2, 3, 4), 1), ((130, 3), 0), ((3, 0), 0)]:
            index = np.arange(shape[axis]).reshape([-1 if i == axis else 1 for i in range(len(shape))])
            result = np.broadcast_to(index, shape).astype(DTYPES[dtype])
            case("iota", f"{dtype} {label(shape)} axis {axis}", [], {"dtype": dtype, "shape": shape, "axis": axis}, [result])
    constants = [(0.1, "f32"), (0.1, "bf16"), (-3.3, "f16"), (1000.0, "f8e4m3fn"), (-0.3, "f8e5m2"), (0.25, "f8e8m0fnu"), (-7, "i32"), (200, "u8"), (1, "bool")]
    for value, dtype in constants:
        for shape in [(2, 3), (), (0,)]:
            full = np.full(shape, value, DTYPES[dtype]) if dtype in INTEGERS else cast(np.full(shape, value, F32), dtype)
            case("constant", f"{dtype} {label(shape)}", [], {"value": value, "dtype": dtype, "shape": shape}, [full])
    for dtype in DTYPES:
        x = raw(dtype, 2, 3, 4, 5)
        for permutation in [(0, 2, 1, 3), (3, 1, 0, 2)] if dtype != "f32" else [(0, 2, 1, 3), (3, 2, 1, 0), (1, 0, 3, 2), (0, 1, 2, 3), (2, 3, 0, 1)]:
            case("transpose", f"{dtype} {label(permutation)}", [x], {"permutation": permutation}, [x.transpose(permutation)])
        case("reshape", f"{dtype} 2x3x4x5 to 6x20", [x], {"shape": [6, 20]}, [x.reshape(6, 20)])
        cut = {"start": [1, 0, 1, 0], "limit": [2, 3, 4, 5], "stride": [1, 2, 1, 3]}
        case("slice", f"{dtype} strided", [x], cut, [x[1:2, 0:3:2, 1:4, 0:5:3]])
        case("slice", f"{dtype} nothing", [x], {"start": [0, 3, 0, 0], "limit": [2, 3, 4, 5], "stride": [1, 1, 1, 1]}, [x[:, 3:3]])
        b = raw(dtype, 3, 1)
        case("broadcast_in_dim", f"{dtype} into a larger rank", [b], {"shape": [5, 3, 2], "dims": [1, 2]}, [np.broadcast_to(b, (5, 3, 2))])
        case("broadcast_in_dim", f"{dtype} crossed axes", [b], {"shape": [4, 2, 3], "dims": [2, 0]}, [np.broadcast_to(b.T[:, None], (1, 2, 3)).repeat(4, 0)])
        for axis in range(3):
            l, r = raw(dtype, 2, 3, 4), raw(dtype, *[5 if i == axis else (2, 3, 4)[i] for i in range(3)])
            case("concatenate", f"{dtype} axis {axis}", [l, r], {"axis": axis}, [np.concatenate([l, r], axis)])
        table, ids = raw(dtype, 7, 6), rng.integers(0, 7, (3, 4)).astype(np.int32)
        case("gather", f"{dtype} rows of a table", [table, ids], {"axis": 0}, [np.take(table, ids, 0)], parameters=[0])
        last, rows = rng.integers(0, 3, (2,)).astype(np.int32), raw(dtype, 2, 3, 5)
        case("gather", f"{dtype} a row of each batch", [rows, last], {"axis": 1, "batch_dims": 1}, [rows[np.arange(2), last]])
        for axis, starts in [(1, [0, 4]), (1, [5, -2]), (2, [1, 9]), (2, [-7, 0])]:
            update_slice(dtype, axis, starts)
    x = normal(2, 3, 4, 5)
    case("reshape", "f32 empty", [normal(0, 3)], {"shape": [3, 0, 7]}, [np.zeros((3, 0, 7), F32)])
    one = normal(1, 1)
    case("reshape", "f32 to a scalar", [one], {"shape": []}, [one.reshape(())])
    case("transpose", "f32 empty", [normal(0, 3)], {"permutation": [1, 0]}, [np.zeros((3, 0), F32)])
    wide = normal(17, 129)
    case("transpose", "f32 17x129", [wide], {"permutation": [1, 0]}, [wide.T])
    case("concatenate", "f32 with nothing", [wide, normal(17, 0)], {"axis": 1}, [wide])
    picks = rng.integers(0, 4, (3, 2)).astype(np.int32)
    case("gather", "f32 along an inner axis", [x, picks], {"axis": 2}, [np.take(x, picks, 2)])
    case("gather", "f32 by no index", [x, picks[:0]], {"axis": 2}, [np.take(x, picks[:0], 2)])
    at, batched = rng.integers(0, 5, (2, 3)).astype(np.int32), normal(2, 3, 5)
    case("gather", "f32 one element of each row", [batched, at], {"axis": 2, "batch_dims": 2}, [np.take_along_axis(batched, at[..., None], 2)[..., 0]])


def update_slice(dtype, axis, starts):
    shape = [2, 6, 4, 3]
    cache = raw(dtype, *shape)
    update = raw(dtype, *[3 if i == axis else dim for i, dim in enumerate(shape)])
    result = np.moveaxis(cache.copy(), axis, 1)
    for row, start in enumerate(starts):
        for t in range(3):
            if 0 <= start + t < shape[axis]:
                result[row, start + t] = np.moveaxis(update, axis, 1)[row, t]
    name = f"{dtype} axis {axis} from {starts[0]} and {starts[1]}"
    case("dynamic_update_slice", name, [cache, update, np.array(starts, np.int32)], {"axis": axis}, [np.moveaxis(result, 1, axis)])


def reductions():
    x = normal(2, 3, 4, 5)
    for axes in [(0,), (2,), (0, 2), (1, 3), (0, 1, 2, 3)]:
        case("reduce", f"max over {label(axes)}, kept", [x], {"kind": "max", "axes": axes, "keep": True}, [x.max(axes, keepdims=True)])
        case("reduce", f"min over {label(axes)}", [x], {"kind": "min", "axes": axes}, [x.min(axes)])
    holed = x.copy()
    holed[1, 2, 3, 4] = np.nan
    case("reduce", "max of a row with a NaN", [holed], {"kind": "max", "axes": [3]}, [holed.max(3)])
    case("reduce", "max of nothing", [normal(3, 0)], {"kind": "max", "axes": [1]}, [np.full(3, -np.inf, F32)])
    case("reduce", "min of nothing", [normal(3, 0)], {"kind": "min", "axes": [1]}, [np.full(3, np.inf, F32)])
    for length in [0, 1, 2, 15, 16, 17, 33, 129, 576]:
        y = normal(3, length, scale=10)
        case("reduce", f"sum of {length}", [y], {"kind": "sum", "axes": [1]}, [c.row_sum(y)[:, 0]], SUMS)
    for axis in range(3):
        y = normal(3, 40, 7)
        case("reduce", f"sum along axis {axis} of 3x40x7, kept", [y], {"kind": "sum", "axes": [axis], "keep": True}, [c.row_sum(y, axis)], SUMS)
    odd = normal(4, 20)
    odd[0, 3], odd[1, 7], odd[2, 1], odd[2, 2] = np.inf, np.nan, np.inf, -np.inf
    case("reduce", "sum with Inf and NaN", [odd], {"kind": "sum", "axes": [1]}, [c.row_sum(odd)[:, 0]], SUMS)


def midpoints(dtype):
    """Every finite value, every midpoint between neighbours, and the f32 beside each."""
    codes = np.arange(256, dtype=np.uint8).view(DTYPES[dtype]).astype(F32)
    values = np.unique(codes[np.isfinite(codes)])
    middle = ((values[1:].astype(np.float64) + values[:-1]) / 2).astype(F32)
    beyond = np.array([448, 464, 465, 480, 57344, 61440, 61441, 65536, 1.5 * 2.0**127, 3.4e38], F32)
    points = np.concatenate([values, middle, beyond, -beyond])
    with np.errstate(all="ignore"):
        return np.concatenate([points, np.nextafter(points, F32(np.inf)), np.nextafter(points, F32(-np.inf)), SPECIALS])


def casts():
    general = np.concatenate([SPECIALS, normal(60, scale=100), normal(60, scale=0.01), np.array([65504, 65519, 65520, 2.0**-24, 2.0**-25, 1e-40], F32)])
    eight = ["f8e4m3fn", "f8e5m2", "f8e8m0fnu"]
    floats = ["f32", "bf16", "f16", *eight]
    for source in floats:
        if source == "f32":
            x = general
        elif source in eight:
            x = np.arange(256, dtype=np.uint8).view(DTYPES[source])
        else:
            x = np.concatenate([np.arange(0, 65536, 173), [0x7F80, 0x7C00, 0xFC00, 0xFF80, 0x7FC0, 0x0001]]).astype(np.uint16).view(DTYPES[source])
        for to in floats:
            decoded = c.wide(x)
            case("convert", f"{source} to {to}, {'every code' if source in eight else 'many values'}", [x], {"to": to}, [cast(decoded, to)])
            if to in eight:
                case("convert", f"{source} to {to}, not saturating", [x], {"to": to, "saturate": False}, [cast(decoded, to, False)])
    for to in eight:
        x = midpoints(to)
        case("convert", f"f32 to {to}, every midpoint", [x], {"to": to}, [cast(x, to)])
        case("convert", f"f32 to {to}, every midpoint, not saturating", [x], {"to": to, "saturate": False}, [cast(x, to, False)])
    sixteen = np.arange(0, 2**32, 2**32 // 3001, dtype=np.uint64).astype(np.uint32)
    ties = np.concatenate([sixteen & 0xFFFF8000 | 0x8000, sixteen & 0xFFFF8000 | 0x8001, sixteen & 0xFFFF8000 | 0x7FFF]).view(F32)[::3]
    case("convert", "f32 to bf16, midpoints", [ties], {"to": "bf16"}, [cast(ties, "bf16")])
    halves = (np.arange(1, 0x7C00, 17).astype(np.uint16).view(np.float16).astype(F32)[:, None] * np.array([1, 1 + 2.0**-11, 1 + 2.0**-10], F32)).ravel()
    case("convert", "f32 to f16, midpoints", [halves], {"to": "f16"}, [cast(halves, "f16")])
    whole = np.array([0, 1, -1, 16777217, 16777219, 2**31 - 1, -(2**31)], np.int32)
    case("convert", "i32 to f32", [whole], {"to": "f32"}, [whole.astype(F32)])
    clipped = np.array([1.9, -1.9, 0.5, 3e9, -3e9, np.nan, -0.0, np.inf, -np.inf, 2147483520.0], F32)
    case("convert", "f32 to i32", [clipped], {"to": "i32"}, [np.array([1, -1, 0, 2**31 - 1, -(2**31), 0, 0, 2**31 - 1, -(2**31), 2147483520], np.int32)])
    case("convert", "bool to f32", [np.array([True, False])], {"to": "f32"}, [np.array([1, 0], F32)])
    case("convert", "bool to i32", [np.array([True, False])], {"to": "i32"}, [np.array([1, 0], np.int32)])
    case("convert", "f32 to f8e4m3fn, empty", [normal(0, 4)], {"to": "f8e4m3fn"}, [np.zeros((0, 4), ml_dtypes.float8_e4m3fn)])


if __name__ == "__main__":
    elementwise()
    movement()
    reductions()
    casts()
    conformance_products.add(files)
    conformance_training.add(files)
    stochastic.cases(lambda name, *node: files.case("stochastic_quantize", name, *node))
    paged.cases(files.case)
    conformance_products.paged_attention(files.case)
    folder = pathlib.Path(sys.argv[1])
    files.write(folder)
    total = sum(file.stat().st_size for file in folder.iterdir())
    print(sum(map(len, files.manifests.values())), "cases by numpy", np.__version__, "and ml_dtypes", ml_dtypes.__version__, f"in {total} bytes")
