"""Tiny random models of every Llama-family variant, as Hugging Face folders with float64 logits.

Each is seeded, a few dozen kilobytes, and chosen so that its variant shows: the RoPE scalings have rotations in all their
ranges, the sliding window is shorter than the sequence, biases and norm weights are far from 0 and 1.

    python tiny_models.py OUTPUT_FOLDER
"""

import argparse
import json
import pathlib

import numpy as np

from llama_float64 import forward, load, logsumexp

VOCABULARY = 97
LENGTH = 20

COMMON = {
    "hidden_act": "silu",
    "vocab_size": VOCABULARY,
    "num_hidden_layers": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.02,
    "use_cache": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

MODELS = {
    "llama2": {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float32",
        "hidden_size": 32, "intermediate_size": 56, "num_attention_heads": 4, "num_key_value_heads": 4,
        "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "rope_scaling": None, "attention_bias": False,
        "tie_word_embeddings": False,
    },
    "llama2-linear": {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16",
        "hidden_size": 32, "intermediate_size": 56, "num_attention_heads": 4, "num_key_value_heads": 4,
        "rms_norm_eps": 1e-06, "rope_theta": 10000.0, "rope_scaling": {"type": "linear", "factor": 4.0},
        "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": False,
    },
    "llama3": {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16",
        "hidden_size": 48, "intermediate_size": 80, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 8,
        "max_position_embeddings": 3200,
        "rms_norm_eps": 1e-05, "rope_theta": 500000.0, "attention_bias": False, "mlp_bias": False,
        "rope_scaling": {
            "factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
            "original_max_position_embeddings": 400, "rope_type": "llama3",
        },
        "tie_word_embeddings": False,
    },
    "smollm2": {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16",
        "hidden_size": 48, "intermediate_size": 72, "num_attention_heads": 3, "num_key_value_heads": 1,
        "rms_norm_eps": 1e-05, "rope_theta": 100000, "rope_scaling": None, "rope_interleaved": False,
        "is_llama_config": True, "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": True,
    },
    "qwen2": {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "torch_dtype": "bfloat16",
        "hidden_size": 48, "intermediate_size": 80, "num_attention_heads": 4, "num_key_value_heads": 2,
        "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "use_sliding_window": False, "sliding_window": 8,
        "max_window_layers": 2, "tie_word_embeddings": True,
    },
    "qwen3": {
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "dtype": "bfloat16",
        "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
        "rms_norm_eps": 1e-06, "rope_parameters": {"rope_theta": 1000000.0, "rope_type": "default"},
        "attention_bias": False, "use_sliding_window": False, "sliding_window": None, "max_window_layers": 2,
        "tie_word_embeddings": True,
    },
    "mistral": {
        "architectures": ["MistralForCausalLM"], "model_type": "mistral", "torch_dtype": "bfloat16",
        "hidden_size": 32, "intermediate_size": 72, "num_attention_heads": 4, "num_key_value_heads": 2,
        "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "sliding_window": 8, "tie_word_embeddings": False,
    },
}


def shapes(config):
    """{tensor name: shape} of a configuration, in the names of its Hugging Face implementation."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    head_dim = config.get("head_dim") or hidden // config["num_attention_heads"]
    q, kv = config["num_attention_heads"] * head_dim, config["num_key_value_heads"] * head_dim
    result = {"model.embed_tokens.weight": (VOCABULARY, hidden)}
    for layer in range(config["num_hidden_layers"]):
        at = lambda name: f"model.layers.{layer}.{name}"
        result[at("input_layernorm.weight")] = (hidden,)
        for part, rows, columns in (("q", q, hidden), ("k", kv, hidden), ("v", kv, hidden), ("o", hidden, q)):
            result[at(f"self_attn.{part}_proj.weight")] = (rows, columns)
            if config.get("attention_bias") or (config["model_type"] == "qwen2" and part != "o"):
                result[at(f"self_attn.{part}_proj.bias")] = (rows,)
        if config["model_type"] == "qwen3":
            result[at("self_attn.q_norm.weight")] = result[at("self_attn.k_norm.weight")] = (head_dim,)
        result[at("post_attention_layernorm.weight")] = (hidden,)
        for part, rows, columns in (("gate", inner, hidden), ("up", inner, hidden), ("down", hidden, inner)):
            result[at(f"mlp.{part}_proj.weight")] = (rows, columns)
            if config.get("mlp_bias"):
                result[at(f"mlp.{part}_proj.bias")] = (rows,)
    result["model.norm.weight"] = (hidden,)
    if not config["tie_word_embeddings"]:
        result["lm_head.weight"] = (VOCABULARY, hidden)
    return result


def draw(random, name, shape):
    """float32 values of a spread that keeps attention peaked, gates open and logits a few units wide."""
    if name.endswith("norm.weight"):
        return (1 + 0.3 * random.standard_normal(shape)).astype(np.float32)
    if name.endswith(".bias"):
        return (0.5 * random.standard_normal(shape)).astype(np.float32)
    return (1.5 / np.sqrt(shape[1]) * random.standard_normal(shape)).astype(np.float32)


def to_bf16(values):
    """float32 to the nearest bfloat16 (ties to even), as 16-bit integers; the values drawn here are finite."""
    bits = values.view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def write_safetensors(path, tensors, dtype):
    header, chunks, offset = {"__metadata__": {"format": "pt"}}, [], 0
    for name, values in sorted(tensors.items()):
        chunk = to_bf16(values).tobytes() if dtype == "BF16" else values.astype("<f4").tobytes()
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": [offset, offset + len(chunk)]}
        chunks.append(chunk)
        offset += len(chunk)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(chunks))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=pathlib.Path)
    output = parser.parse_args().output
    for seed, (name, variant) in enumerate(MODELS.items(), start=1):
        config = {**COMMON, **variant}
        folder = output / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        random = np.random.Generator(np.random.PCG64(seed))
        tensors = {tensor: draw(random, tensor, shape) for tensor, shape in shapes(config).items()}
        dtype = "F32" if "float32" in (config.get("torch_dtype"), config.get("dtype")) else "BF16"
        write_safetensors(folder / "model.safetensors", tensors, dtype)
        tokens = [int(token) for token in random.integers(0, VOCABULARY, LENGTH)]
        (folder / "tokens.json").write_text(json.dumps(tokens) + "\n")

        logits = forward(*load(folder), tokens)
        logits.astype("<f8").tofile(folder / "logits.f64")
        entropy = np.mean(logsumexp(logits) - (np.exp(logits - logsumexp(logits)[:, None]) * logits).sum(-1))
        print(f"{name}: logits {logits.min():.2f} … {logits.max():.2f}, mean entropy {entropy:.2f} nats")


if __name__ == "__main__":
    main()
