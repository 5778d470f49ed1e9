"""Stochastic rounding: Philox4x32-10 from the paper's text (checked against its known answers), neighbours looked up in the formats' tables."""

import ml_dtypes
import numpy as np

import canonical as c
from canonical import DTYPES, F32

WORD = np.uint64(0xFFFFFFFF)


def philox(counter, key):
    """Ten rounds; counter [n, 4] and key (2) of 32-bit words."""
    c0, c1, c2, c3 = (counter[:, i].astype(np.uint64) for i in range(4))
    k0, k1 = (np.uint64(k) for k in key)
    for _ in range(10):
        p, q = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (q >> np.uint64(32)) ^ c1 ^ k0, q & WORD, (p >> np.uint64(32)) ^ c3 ^ k1, p & WORD
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & WORD, (k1 + np.uint64(0xBB67AE85)) & WORD
    return np.stack([c0, c1, c2, c3], 1)


# Random123's kat_vectors.
assert [hex(int(w)) for w in philox(np.zeros((1, 4)), (0, 0))[0]] == ["0x6627e8d5", "0xe169c58d", "0xbc57ac4c", "0x9b00dbd8"]
assert [hex(int(w)) for w in philox(np.full((1, 4), 2**32 - 1), (2**32 - 1, 2**32 - 1))[0]] == ["0x408f276d", "0x41c83b0e", "0xa20bc7c6", "0x6d5451fd"]


def stochastic_quantize(x, scale, seed, to, block, saturate=True, stream=0):
    with np.errstate(all="ignore"):
        values = c.wide(x) / c.spread(c.wide(scale), x.shape, block)
    flat = values.ravel()
    counter = np.zeros((-(-flat.size // 4), 4), np.uint64)
    counter[:, 0], counter[:, 2] = np.arange(len(counter)), stream
    words = philox(counter, (int(seed[0]) % 2**32, 0)).ravel()[: flat.size]
    numbers = np.arange(256, dtype=np.uint8).view(DTYPES[to]).astype(np.float64)
    grid = np.unique(np.abs(numbers[np.isfinite(numbers)]))
    result = c.cast(flat, to, saturate).ravel().copy()
    for i, value in enumerate(flat.astype(np.float64)):
        size = abs(value)
        if not size < grid[-1]:
            continue
        at = np.searchsorted(grid, size, "right") - 1
        near, far = grid[at], grid[at + 1]
        up = int(words[i]) < (size - near) / (far - near) * 2.0**32
        result[i] = np.copysign(far if up else near, value)
    return result.reshape(x.shape)


def cases(case):
    """Calls case(name, operands, attributes, results)."""
    rng = np.random.default_rng(20261127)
    shapes = [((7,), (0,)), ((5, 300), (1, 128)), ((20, 37), (16, 16)), ((2, 3, 40), (1, 1, 32)), ((0, 4), (1, 4))]
    for number, (shape, block) in enumerate(shapes):
        for to in ["f8e4m3fn", "f8e5m2"]:
            x = (rng.standard_normal(shape) * 30).astype(F32)
            scale = rng.uniform(0.05, 0.5, c.counts(shape, block)).astype(F32)
            seed, stream = np.array([7 - 5 * number], np.int32), 1000003 * number
            attributes = {"to": to, "block": list(block), "stream": stream}
            case(f"{to}, {'x'.join(map(str, shape))} in {block}", [x, scale, seed], attributes, [stochastic_quantize(x, scale, seed, to, block, True, stream)])
    half = (rng.standard_normal((4, 64)) * 100).astype(ml_dtypes.bfloat16)
    powers = np.array([[0.5, 2.0]] * 4).astype(ml_dtypes.float8_e8m0fnu)
    seed = np.array([-(2**31)], np.int32)
    case("bf16 with f8e8m0fnu scales", [half, powers, seed], {"to": "f8e4m3fn", "block": [1, 32]}, [stochastic_quantize(half, powers, seed, "f8e4m3fn", [1, 32])])
    odd = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 448, 449, 464, 465, -1e9, 2.0**-10, -(2.0**-11), 2.0**-20, 1e-45, 57344, 61440, -447.9], F32)
    one = np.ones(1, F32)
    for to in ["f8e4m3fn", "f8e5m2"]:
        for saturate in [True, False]:
            attributes = {"to": to, "block": [0], "saturate": saturate, "stream": 2**31 - 1}
            name = f"{to}, zeros, Inf, NaN, subnormals{'' if saturate else ', not saturating'}"
            case(name, [odd, one, seed], attributes, [stochastic_quantize(odd, one, seed, to, [0], saturate, 2**31 - 1)])
