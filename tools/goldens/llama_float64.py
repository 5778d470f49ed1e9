"""The Llama family in float64 numpy: an implementation that shares nothing with Quaver and gives its goldens.

Every tensor is dequantized and then computed in float64: embedding, RMSNorm, (grouped-query) attention with rotary
positions, SwiGLU, tied or separate lm_head. Reads a GGUF file (`gguf` package) or a Hugging Face folder
(config.json + model.safetensors). Covers Llama 2/3, SmolLM2, Qwen2, Qwen3 and Mistral; anything else is refused.

    python llama_float64.py goldens MODEL.gguf prompts.json OUTPUT_FOLDER [--greedy NAME:COUNT]
    python llama_float64.py logits MODEL --tokens 1,2,3 [--output FILE.f64]
"""

import argparse
import dataclasses
import json
import math
import pathlib

import numpy as np


@dataclasses.dataclass
class Config:
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    eps: float
    rope_theta: float
    rope_scaling: dict | None = None  # the Hugging Face dictionary, or {"rope_type": "factors", "factors": array}
    windows: list | None = None  # per layer: sliding window in tokens, or None for full attention


# ---------------------------------------------------------------- reading


def load(path):
    """(Config, {Hugging Face tensor name: float64 array}) of a .gguf file or of a folder."""
    path = pathlib.Path(path)
    return load_gguf(path) if path.suffix == ".gguf" else load_folder(path)


GGUF_NAMES = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def load_gguf(path):
    from gguf import GGUFReader
    from gguf.quants import dequantize

    reader = GGUFReader(path)

    def field(name, default=None):
        found = reader.fields.get(name)
        return default if found is None else found.contents()

    architecture = field("general.architecture")
    if architecture not in ("llama", "qwen2", "qwen3"):
        raise SystemExit(f"{path}: architecture '{architecture}' is not in the Llama family")
    key = lambda suffix, default=None: field(f"{architecture}.{suffix}", default)
    heads = key("attention.head_count")
    hidden = key("embedding_length")
    config = Config(
        hidden=hidden,
        layers=key("block_count"),
        heads=heads,
        kv_heads=key("attention.head_count_kv", heads),
        head_dim=key("attention.key_length", hidden // heads),
        eps=key("attention.layer_norm_rms_epsilon"),
        rope_theta=key("rope.freq_base", 10000.0),
    )
    scaling = key("rope.scaling.type", "none")
    if scaling == "linear":
        config.rope_scaling = {"rope_type": "linear", "factor": key("rope.scaling.factor")}
    elif scaling != "none":
        raise SystemExit(f"{path}: rope scaling '{scaling}' is not supported")

    weights = {}
    for tensor in reader.tensors:
        values = np.asarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float64)
        values = values.reshape([int(n) for n in tensor.shape[::-1]])
        stem, _, kind = tensor.name.rpartition(".")
        if stem == "rope_freqs":
            config.rope_scaling = {"rope_type": "factors", "factors": values}
            continue
        if stem.startswith("blk."):
            _, layer, part = stem.split(".")
            # llama.cpp stores the rows of a 'llama' q and k in the order of interleaved rotation
            if architecture == "llama" and part in ("attn_q", "attn_k"):
                values = unpermute(values, config.heads if part == "attn_q" else config.kv_heads)
            name = f"model.layers.{layer}.{GGUF_NAMES[part]}.{kind}"
        else:
            top = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
            name = f"{top[stem]}.{kind}"
        weights[name] = values
    return config, weights


def unpermute(rows, heads):
    """Row 2j+i of a head (interleaved pairs) back to row i*head_dim/2 + j (two halves)."""
    head_dim = rows.shape[0] // heads
    pairs = rows.reshape(heads, head_dim // 2, 2, *rows.shape[1:])
    return pairs.swapaxes(1, 2).reshape(rows.shape)


def load_folder(path):
    settings = json.loads((path / "config.json").read_text())
    kind = settings["model_type"]
    if kind not in ("llama", "qwen2", "qwen3", "mistral"):
        raise SystemExit(f"{path}: model_type '{kind}' is not in the Llama family")
    layers = settings["num_hidden_layers"]
    # transformers 5 writes one dictionary "rope_parameters"; earlier releases rope_theta and rope_scaling
    rope = settings.get("rope_parameters") or settings.get("rope_scaling") or {}
    window = settings.get("sliding_window")
    windows = None
    if kind == "mistral" and window:
        windows = [window] * layers
    elif kind in ("qwen2", "qwen3") and window and settings.get("use_sliding_window"):
        first = settings["max_window_layers"]
        windows = [window if layer >= first else None for layer in range(layers)]
    config = Config(
        hidden=settings["hidden_size"],
        layers=layers,
        heads=settings["num_attention_heads"],
        kv_heads=settings.get("num_key_value_heads") or settings["num_attention_heads"],
        head_dim=settings.get("head_dim") or settings["hidden_size"] // settings["num_attention_heads"],
        eps=settings["rms_norm_eps"],
        rope_theta=rope.get("rope_theta", settings.get("rope_theta", 10000.0)),
        rope_scaling=rope or None,
        windows=windows,
    )
    weights = read_safetensors(path / "model.safetensors")
    if settings.get("tie_word_embeddings"):
        weights.pop("lm_head.weight", None)
    return config, weights


def read_safetensors(path):
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    weights = {}
    for name, entry in header.items():
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        if entry["dtype"] == "BF16":
            values = (np.frombuffer(data[start:end], dtype="<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.frombuffer(data[start:end], dtype={"F32": "<f4", "F16": "<f2", "F64": "<f8"}[entry["dtype"]])
        weights[name] = values.astype(np.float64).reshape(entry["shape"])
    return weights


# ---------------------------------------------------------------- computing


def rope_frequencies(config):
    """Radians per position of each of the head_dim/2 rotations."""
    frequencies = config.rope_theta ** (-np.arange(0, config.head_dim, 2, dtype=np.float64) / config.head_dim)
    scaling = config.rope_scaling or {}
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind == "default":
        return frequencies
    if kind == "linear":
        return frequencies / scaling["factor"]
    if kind == "factors":
        return frequencies / scaling["factors"]
    if kind != "llama3":
        raise SystemExit(f"rope scaling '{kind}' is not supported")
    # Llama 3.1: long waves are stretched by the factor, short ones kept, those between are blended.
    original = scaling["original_max_position_embeddings"]
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    turns = original * frequencies / (2 * math.pi)
    keep = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return keep * frequencies + (1 - keep) * frequencies / scaling["factor"]


def rms_norm(x, weight, eps):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def rotate(x, cos, sin):
    """x [heads, T, head_dim]; element j turns with element j + head_dim/2."""
    first, second = np.split(x, 2, axis=-1)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def attention_mask(length, window):
    """True where query row t may look at key column s: s <= t, and fewer than `window` tokens back."""
    distance = np.arange(length)[:, None] - np.arange(length)[None, :]
    return (distance >= 0) & (distance < (window or length + 1))


def forward(config, weights, tokens):
    """Logits [T, vocabulary] in float64 of one sequence of token ids that starts at position 0."""
    length = len(tokens)
    angles = np.arange(length, dtype=np.float64)[:, None] * rope_frequencies(config)[None, :]
    cos, sin = np.cos(angles), np.sin(angles)
    group = config.heads // config.kv_heads

    def linear(x, name):
        y = x @ weights[f"{name}.weight"].T
        bias = weights.get(f"{name}.bias")
        return y if bias is None else y + bias

    x = weights["model.embed_tokens.weight"][np.asarray(tokens)]
    for layer in range(config.layers):
        prefix = f"model.layers.{layer}"
        h = rms_norm(x, weights[f"{prefix}.input_layernorm.weight"], config.eps)
        q, k, v = (linear(h, f"{prefix}.self_attn.{part}_proj") for part in "qkv")
        q = q.reshape(length, config.heads, config.head_dim).swapaxes(0, 1)
        k = k.reshape(length, config.kv_heads, config.head_dim).swapaxes(0, 1)
        v = v.reshape(length, config.kv_heads, config.head_dim).swapaxes(0, 1)
        if f"{prefix}.self_attn.q_norm.weight" in weights:
            q = rms_norm(q, weights[f"{prefix}.self_attn.q_norm.weight"], config.eps)
            k = rms_norm(k, weights[f"{prefix}.self_attn.k_norm.weight"], config.eps)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        k, v = np.repeat(k, group, axis=0), np.repeat(v, group, axis=0)
        scores = q @ k.swapaxes(1, 2) / math.sqrt(config.head_dim)
        mask = attention_mask(length, config.windows[layer] if config.windows else None)
        scores = np.where(mask, scores, -np.inf)
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = (scores / scores.sum(axis=-1, keepdims=True)) @ v
        x = x + linear(mixed.swapaxes(0, 1).reshape(length, -1), f"{prefix}.self_attn.o_proj")

        h = rms_norm(x, weights[f"{prefix}.post_attention_layernorm.weight"], config.eps)
        gate = linear(h, f"{prefix}.mlp.gate_proj")
        swiglu = gate / (1 + np.exp(-gate)) * linear(h, f"{prefix}.mlp.up_proj")
        x = x + linear(swiglu, f"{prefix}.mlp.down_proj")
    x = rms_norm(x, weights["model.norm.weight"], config.eps)
    return x @ weights.get("lm_head.weight", weights["model.embed_tokens.weight"]).T


def logsumexp(logits):
    peak = logits.max(axis=-1, keepdims=True)
    return (peak + np.log(np.exp(logits - peak).sum(axis=-1, keepdims=True)))[..., 0]


def greedy(config, weights, tokens, count):
    """[{token, logprob, margin}]: `margin` is the logit of the best minus that of the second best."""
    tokens = list(tokens)
    steps = []
    for _ in range(count):
        last = forward(config, weights, tokens)[-1]
        second, best = np.argsort(last)[-2:]
        logprob = last[best] - logsumexp(last[None])[0]
        steps.append({"token": int(best), "logprob": float(logprob), "margin": float(last[best] - last[second])})
        tokens.append(int(best))
    return steps


# ---------------------------------------------------------------- writing


def write_goldens(config, weights, prompts, folder, greedy_counts):
    folder.mkdir(parents=True, exist_ok=True)
    for prompt in prompts:
        logits = forward(config, weights, prompt["tokens"])
        top = np.argsort(-logits, axis=-1, kind="stable")[:, :16]
        sums = logsumexp(logits)
        record = {
            **prompt,
            "vocabulary": logits.shape[1],
            "positions": [
                {
                    "argmax": int(ids[0]),
                    "logsumexp": float(total),
                    "top": [[int(i), round(float(row[i]), 9)] for i in ids],
                }
                for row, ids, total in zip(logits, top, sums)
            ],
        }
        if prompt["name"] in greedy_counts:
            record["greedy"] = greedy(config, weights, prompt["tokens"], greedy_counts[prompt["name"]])
        (folder / f"{prompt['name']}.json").write_text(dump(record))
        logits[-1].astype("<f4").tofile(folder / f"{prompt['name']}.last.f32")
        print(f"{prompt['name']}: {len(prompt['tokens'])} positions")


def dump(record):
    """JSON with one array element per line, so that a change of a golden can be read in a diff."""
    parts = []
    for key, value in record.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            rows = ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in value)
            parts.append(f" {json.dumps(key)}: [\n  {rows}\n ]")
        else:
            parts.append(f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    goldens = commands.add_parser("goldens", help="write goldens for a list of prompts")
    goldens.add_argument("model", type=pathlib.Path)
    goldens.add_argument("prompts", type=pathlib.Path)
    goldens.add_argument("output", type=pathlib.Path)
    goldens.add_argument("--greedy", action="append", default=[], metavar="NAME:COUNT")
    logits = commands.add_parser("logits", help="logits of one sequence")
    logits.add_argument("model", type=pathlib.Path)
    logits.add_argument("--tokens", required=True, type=lambda text: [int(item) for item in text.split(",")])
    logits.add_argument("--output", type=pathlib.Path, help="raw little-endian float64, [T, vocabulary]")
    arguments = parser.parse_args()

    config, weights = load(arguments.model)
    if arguments.command == "goldens":
        counts = {name: int(count) for name, _, count in (item.partition(":") for item in arguments.greedy)}
        write_goldens(config, weights, json.loads(arguments.prompts.read_text()), arguments.output, counts)
    else:
        result = forward(config, weights, arguments.tokens)
        if arguments.output:
            result.astype("<f8").tofile(arguments.output)
        for position, row in enumerate(result):
            best = int(row.argmax())
            print(f"position {position}: argmax {best}, logit {row[best]:.9f}, logsumexp {logsumexp(row[None])[0]:.9f}")


if __name__ == "__main__":
    main()
