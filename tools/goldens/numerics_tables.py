"""Makes the expected values of packages/numerics/test/data with ml_dtypes and numpy.

    python3 -m venv venv && venv/bin/pip install ml_dtypes==0.6.0 numpy==2.4.6
    venv/bin/python tools/goldens/numerics_tables.py

A file is gzip over little-endian u32 columns: the number of columns, the length of each, then each column as wrapping
differences between neighbours (sorted inputs and codes compress to almost nothing that way).
"""

import gzip
import pathlib

import ml_dtypes
import numpy as np

OUT = pathlib.Path(__file__).parents[2] / "packages/numerics/test/data"
VERSIONS = {"ml_dtypes": (ml_dtypes.__version__, "0.6.0"), "numpy": (np.__version__, "2.4.6")}

# name: (dtype, code of a NaN). The SDK encodes every NaN the same; libraries keep the sign, numpy the payload too.
FORMATS = {
    "f8e4m3fn": (ml_dtypes.float8_e4m3fn, 0x7F),
    "f8e5m2": (ml_dtypes.float8_e5m2, 0x7E),
    "f8e4m3fnuz": (ml_dtypes.float8_e4m3fnuz, 0x80),
    "f8e5m2fnuz": (ml_dtypes.float8_e5m2fnuz, 0x80),
    "f8e8m0fnu": (ml_dtypes.float8_e8m0fnu, 0xFF),
    "bf16": (ml_dtypes.bfloat16, 0x7FC0),
    "f16": (np.float16, 0x7E00),
}
F32_NANS = [0x7F800001, 0x7FC00000, 0x7FFFFFFF, 0xFF800001, 0xFFC00000, 0xFFFFFFFF]


def write_columns(name, *columns):
    columns = [np.asarray(column, dtype=np.uint32) for column in columns]
    words = [np.array([len(columns), *map(len, columns)], dtype=np.uint32)]
    words += [np.diff(column, prepend=np.uint32(0)) for column in columns]
    data = np.concatenate(words).astype("<u4").tobytes()
    path = OUT / f"{name}.bin.gz"
    path.write_bytes(gzip.compress(data, compresslevel=9, mtime=0))
    print(f"{path.name}: columns of {[len(column) for column in columns]}, {path.stat().st_size} bytes")


def f32_bits(values):
    return np.asarray(values, dtype=np.float32).view(np.uint32)


def cast(values, name):
    dtype, nan_code = FORMATS[name]
    codes = values.astype(dtype)
    codes = codes.view(np.uint8 if codes.itemsize == 1 else np.uint16).astype(np.uint32)
    return np.where(np.isnan(values), np.uint32(nan_code), codes)


def cast_inputs(decoded):
    """Every value, every midpoint between neighbours, the edges of overflow, and the f32 on both sides of each."""
    finite = np.unique(np.abs(decoded[np.isfinite(decoded)]).astype(np.float64))
    midpoints = (finite[1:] + finite[:-1]) / 2
    step = finite[-1] - finite[-2]
    edges = [finite[-1] + step / 2, finite[-1] + step, 464, 465, 61439, 61440, 65519, 65520, 1e30, 2.0**-127 * 1.5]
    exact = f32_bits(np.concatenate([finite, midpoints, edges]))
    f32_edges = [0, 1, 2, 0x007FFFFF, 0x00800000, 0x7F7FFFFF, 0x7F800000]
    magnitudes = np.concatenate([exact, exact - (exact > 0), exact + 1, np.array(f32_edges, dtype=np.uint32)])
    magnitudes = np.unique(magnitudes[magnitudes <= 0x7F800000].astype(np.uint32))
    bits = np.concatenate([magnitudes, magnitudes | np.uint32(0x80000000), np.array(F32_NANS, dtype=np.uint32)])
    return np.unique(bits)


def write_format(name):
    dtype, _ = FORMATS[name]
    width = np.dtype(dtype).itemsize * 8
    codes = np.arange(1 << width, dtype=np.uint32).astype(np.uint8 if width == 8 else np.uint16)
    decoded = codes.view(dtype).astype(np.float32)
    inputs = cast_inputs(decoded)
    values = inputs.view(np.float32)
    # No library saturates: clamp to the largest finite value first. E8M0 has no negative numbers to clamp to.
    largest = decoded[np.isfinite(decoded)].max()
    clamped = np.minimum(values, largest) if name == "f8e8m0fnu" else np.clip(values, -largest, largest)
    decoded_bits = np.where(np.isnan(decoded), np.uint32(0x7FC00000), decoded.view(np.uint32))
    write_columns(name, decoded_bits, inputs, cast(values, name), cast(clamped, name))


F = np.float32


def exp32(x):
    """Cephes expf, one rounded f32 operation at a time. Constants are rounded to f32 first."""
    t = x * F(1.44269502162933349609375) + F(12582912)
    n = t - F(12582912)
    r = x - n * F(0.693359375)
    r = r - n * F(-2.12194440e-4)
    p = np.full_like(x, F(1.9875691500e-4))
    for c in [1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1]:
        p = p * r
        p = p + F(c)
    y = p * (r * r)
    y = y + r
    y = y + F(1)
    n = n.astype(np.int32)
    half = n >> 1
    power = lambda e: ((e + 127) << 23).astype(np.uint32).view(np.float32)
    return (y * power(half)) * power(n - half)


def log32(x):
    """Cephes logf, one rounded f32 operation at a time."""
    subnormal = x < F(2.0**-126)
    x = np.where(subnormal, x * F(2.0**23), x).astype(np.float32)
    bits = x.view(np.uint32)
    e = ((bits >> 23) & 255).astype(np.int32) - 126 - np.where(subnormal, 23, 0)
    m = ((bits & 0x7FFFFF) | 0x3F000000).astype(np.uint32).view(np.float32)
    small = m < F(0.707106781186547524)
    e = np.where(small, e - 1, e).astype(np.float32)
    m = np.where(small, (m + m) - F(1), m - F(1)).astype(np.float32)
    z = m * m
    p = np.full_like(m, F(7.0376836292e-2))
    for c in [-1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1]:
        p = p * m + F(c)
    for c in [2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1]:
        p = p * m + F(c)
    y = (p * m) * z
    y = y + e * F(-2.12194440e-4)
    y = y - F(0.5) * z
    return (m + y) + e * F(0.693359375)


def write_elementary(rng):
    x = np.concatenate(
        [
            rng.uniform(-87.33654, 88.7228, 4000),
            rng.uniform(-1, 1, 2000),
            rng.normal(0, 1e-4, 500),
            [0, -0.0, 1, -1, 88.72283172607421875, -87.33654022216796875],
        ]
    ).astype(np.float32)
    x = x[np.argsort(x.view(np.uint32), kind="stable")]
    write_columns("exp32", f32_bits(x), f32_bits(exp32(x)))
    bits = np.concatenate([rng.integers(1, 0x7F800000, 4000), np.arange(0x3F800000 - 1000, 0x3F800000 + 1000)])
    edges = [1, 2, 0x007FFFFF, 0x00800000, 0x3F3504F2, 0x3F3504F3, 0x3F3504F4, 0x7F7FFFFF]
    bits = np.unique(np.concatenate([bits, edges])).astype(np.uint32)
    write_columns("log32", bits, f32_bits(log32(bits.view(np.float32))))


def canonical_sum(values):
    partials = np.zeros(16, dtype=np.float32)
    for i, value in enumerate(values):
        partials[i % 16] = partials[i % 16] + value
    for width in (8, 4, 2, 1):
        partials = partials[:width] + partials[width : 2 * width]
    return partials[0]


def write_canonical_sum(rng):
    pool = (rng.normal(0, 1, 4096) * np.exp2(rng.integers(-12, 12, 4096))).astype(np.float32)
    pool[:64] = -0.0
    cases = [(0, n, 1) for n in (0, 1, 15, 16, 17, 64)]
    cases += [(100, n, 1) for n in (1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 100, 576, 1000, 1536, 3996)]
    cases += [(65, 37, 3), (64, 576, 7), (100, 200, 16), (4095, 50, -2), (70, 64, 63)]
    starts, lengths, strides = (np.array(column, dtype=np.int32).view(np.uint32) for column in zip(*cases))
    sums = [canonical_sum([pool[start + i * stride] for i in range(length)]) for start, length, stride in cases]
    write_columns("canonical-sum", pool.view(np.uint32), starts, lengths, strides, f32_bits(sums))


def write_scale_quotients(rng):
    amax = np.exp2(rng.uniform(-125, 127, 700)).astype(np.float32)
    maxima = np.resize(np.array([448, 57344, 240, 6, 65504, 127, 3.3895313892515355e38], dtype=np.float32), len(amax))
    write_columns("scale-quotients", amax.view(np.uint32), maxima.view(np.uint32), f32_bits(amax / maxima))


def main():
    for library, (found, expected) in VERSIONS.items():
        assert found == expected, f"{library}: expected {expected}, found {found}"
    OUT.mkdir(parents=True, exist_ok=True)
    with np.errstate(all="ignore"):
        for name in FORMATS:
            write_format(name)
        rng = np.random.default_rng(20240229)
        write_elementary(rng)
        write_canonical_sum(rng)
        write_scale_quotients(rng)


if __name__ == "__main__":
    main()
