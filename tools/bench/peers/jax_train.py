"""A training step of a Llama in JAX, for `npm run bench -- train`: jit, on the CPU, the same shapes and batch as ours.

Reads one JSON object per line, {"dtype": "f32" | "bf16", "rows", "tokens", "steps", "config"} first, then {"steps"} again; answers
each with {"seconds": [...], "loss"}. In bf16 the weights are cast in every step (f32 masters), products take bf16 and add in f32,
attention scores are f32: what people write who train in bf16. AdamW moves the masters; clipping by the global norm.
"""
import json
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np


def init(config):
    rng = np.random.default_rng(0)
    h, layers, inner, vocab = (config[k] for k in ("hidden", "layers", "inner", "vocab"))
    q, kv = config["heads"] * config["head_dim"], config["kv_heads"] * config["head_dim"]
    normal = lambda *shape: (rng.standard_normal(shape) * 0.02).astype(np.float32)
    layer = lambda: {
        "input_norm": np.ones(h, np.float32), "post_norm": np.ones(h, np.float32),
        "q": normal(h, q), "k": normal(h, kv), "v": normal(h, kv), "o": normal(q, h),
        "gate": normal(h, inner), "up": normal(h, inner), "down": normal(inner, h),
    }
    return {"embed": normal(vocab, h), "norm": np.ones(h, np.float32), "layers": [layer() for _ in range(layers)]}


def rms_norm(x, weight):
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-5) * weight


def rope(x, cos, sin):
    a, b = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def make_step(config, dtype, tokens_per_row):
    d = jnp.bfloat16 if dtype == "bf16" else jnp.float32
    heads, kv_heads, head_dim = config["heads"], config["kv_heads"], config["head_dim"]
    frequencies = 100000.0 ** (-np.arange(0, head_dim, 2) / head_dim)
    angles = np.arange(tokens_per_row)[:, None] * frequencies
    cos, sin = (jnp.asarray(f(angles), jnp.float32)[None, :, None, :] for f in (np.cos, np.sin))
    causal = jnp.tril(jnp.ones((tokens_per_row, tokens_per_row), bool))

    def dot(x, w):
        return jnp.matmul(x.astype(d), w.astype(d), preferred_element_type=jnp.float32)

    def attention(x, p):
        b, t, _ = x.shape
        q = rope(dot(x, p["q"]).reshape(b, t, heads, head_dim), cos, sin)
        k = rope(dot(x, p["k"]).reshape(b, t, kv_heads, head_dim), cos, sin)
        v = dot(x, p["v"]).reshape(b, t, kv_heads, head_dim)
        q = q.reshape(b, t, kv_heads, heads // kv_heads, head_dim)
        scores = jnp.einsum("btkgd,bskd->bkgts", q.astype(d), k.astype(d), preferred_element_type=jnp.float32)
        scores = jnp.where(causal, scores / np.sqrt(head_dim), -jnp.inf)
        p_ = jax.nn.softmax(scores, axis=-1).astype(d)
        y = jnp.einsum("bkgts,bskd->btkgd", p_, v.astype(d), preferred_element_type=jnp.float32)
        return dot(y.reshape(b, t, heads * head_dim), p["o"])

    def loss_of(params, tokens, targets):
        x = params["embed"][tokens]
        for p in params["layers"]:
            x = x + attention(rms_norm(x, p["input_norm"]), p)
            y = rms_norm(x, p["post_norm"])
            x = x + dot(jax.nn.silu(dot(y, p["gate"])) * dot(y, p["up"]), p["down"])
        logits = dot(rms_norm(x, params["norm"]), params["embed"].T)
        picked = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
        return jnp.mean(jax.nn.logsumexp(logits, axis=-1) - picked)

    def step(state, tokens, targets):
        params, m, v, count = state
        loss, grads = jax.value_and_grad(loss_of)(params, tokens, targets)
        norm = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(grads)))
        factor = 1 / jnp.maximum(1, norm)
        count = count + 1
        c1, c2 = 1 - 0.9 ** count, 1 - 0.95 ** count
        grads = jax.tree.map(lambda g: g * factor, grads)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
        v = jax.tree.map(lambda v, g: 0.95 * v + 0.05 * g * g, v, grads)
        move = lambda p, m, v: p - 1e-4 * (m / c1 / (jnp.sqrt(v / c2) + 1e-8) + 0.1 * p)
        return (jax.tree.map(move, params, m, v), m, v, count), loss

    return jax.jit(step, donate_argnums=0)


def main():
    first = json.loads(sys.stdin.readline())
    config = first["config"]
    rows, columns = first["rows"], first["tokens"]
    params = jax.tree.map(jnp.asarray, init(config))
    zeros = lambda: jax.tree.map(jnp.zeros_like, params)
    state = (params, zeros(), zeros(), jnp.float32(0))
    step = make_step(config, first["dtype"], columns)
    ids = (np.arange(rows * columns + 1) * 7919 + 13) % (config["vocab"] - 3)
    tokens = jnp.asarray(ids[:-1].reshape(rows, columns), jnp.int32)
    targets = jnp.asarray(ids[1:].reshape(rows, columns), jnp.int32)
    request = first
    while request:
        seconds = []
        for _ in range(request["steps"]):
            start = time.perf_counter()
            state, loss = step(state, tokens, targets)
            loss = float(loss)
            seconds.append(time.perf_counter() - start)
        print(json.dumps({"seconds": seconds, "loss": loss, "jax": jax.__version__}), flush=True)
        line = sys.stdin.readline()
        request = json.loads(line) if line.strip() else None


main()
