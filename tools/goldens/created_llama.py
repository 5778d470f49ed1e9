"""SHA-256 of the weights of a new model, by another implementation: python tools/goldens/created_llama.py

Philox4x32-10 in Python integers, AS 241 (PPND7) in f64, the logarithm in numpy f32. Prints the digests that
packages/models/test/create-llama.test.ts expects: over name and bytes of every trainable parameter in order.
"""

import hashlib
import math

import numpy as np

f = np.float32
LOG = [7.0376836292e-2, -1.151461031e-1, 1.167699874e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
       2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1]


def philox(counter, key):
    c0, c1, c2, c3 = counter
    k0, k1 = key
    mask = 0xFFFFFFFF
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & mask, (p0 >> 32) ^ c3 ^ k1, p0 & mask
        k0, k1 = (k0 + 0x9E3779B9) & mask, (k1 + 0xBB67AE85) & mask
    return c0, c1, c2, c3


def log32(x):
    m, e = np.frexp(f(x))
    e = int(e)
    if m < f(math.sqrt(0.5)):
        e -= 1
        m = f(m + m) - f(1)
    else:
        m = m - f(1)
    z = m * m
    p = f(LOG[0])
    for c in LOG[1:]:
        p = p * m + f(c)
    y = p * m * z
    y = y + f(e) * f(-2.1219444e-4)
    y = y - f(0.5) * z
    return float((m + y) + f(e) * f(0.693359375))


def ratio(x, top, bottom):
    a = b = 0.0
    for c in reversed(top):
        a = a * x + c
    for c in reversed(bottom):
        b = b * x + c
    return a, b


def quantile(p):
    q = p - 0.5
    if abs(q) <= 0.425:
        a, b = ratio(0.425 * 0.425 - q * q, [3.3871327179, 50.434271938, 159.29113202, 59.10937472],
                     [1, 17.895169469, 78.757757664, 67.1875636])
        return q * a / b
    r = math.sqrt(-log32(p if q < 0 else 1 - p))
    if r <= 5:
        a, b = ratio(r - 1.6, [1.4234372777, 2.756815390, 1.3067284816, 0.17023821103],
                     [1, 0.7370016425, 0.12021132975])
    else:
        a, b = ratio(r - 5, [6.657905115, 3.081226386, 0.42868294337, 0.017337203997],
                     [1, 0.24197894225, 0.012258202635])
    return -(a / b) if q < 0 else a / b


def normal(count, deviation, seed, stream):
    key = (seed & 0xFFFFFFFF, seed >> 32)
    words = [w for step in range((count + 3) // 4) for w in philox((step, 0, stream, 0), key)]
    return np.array([deviation * quantile((w + 0.5) / 2**32) for w in words[:count]]).astype("<f4")


def tensors(tied, vocab=256, hidden=64, inner=96, layers=2, heads=4, kv=2):
    dim = hidden // heads
    yield "model.embed_tokens.weight", (vocab, hidden), 0.02
    for layer in range(layers):
        at = f"model.layers.{layer}."
        small = 0.02 / math.sqrt(2 * layers)
        yield at + "input_layernorm.weight", (hidden,), None
        yield at + "self_attn.q_proj.weight", (heads * dim, hidden), 0.02
        yield at + "self_attn.k_proj.weight", (kv * dim, hidden), 0.02
        yield at + "self_attn.v_proj.weight", (kv * dim, hidden), 0.02
        yield at + "self_attn.o_proj.weight", (hidden, heads * dim), small
        yield at + "post_attention_layernorm.weight", (hidden,), None
        yield at + "mlp.gate_proj.weight", (inner, hidden), 0.02
        yield at + "mlp.up_proj.weight", (inner, hidden), 0.02
        yield at + "mlp.down_proj.weight", (hidden, inner), small
    yield "model.norm.weight", (hidden,), None
    if not tied:
        yield "lm_head.weight", (vocab, hidden), 0.02


for seed, tied in [(0, False), (2**52 + 1, True)]:
    digest = hashlib.sha256()
    for stream, (name, shape, deviation) in enumerate(tensors(tied)):
        count = math.prod(shape)
        values = np.ones(count, "<f4") if deviation is None else normal(count, deviation, seed, stream)
        digest.update(name.encode() + values.tobytes())
    print(seed, "tied" if tied else "untied", digest.hexdigest())
