"""Gradients of whole models by JAX in float64: python tools/goldens/jax_gradients.py OUTPUT MODEL…

Every MODEL is a folder of packages/models/test/data/tiny. The forward pass is that of llama_float64.py, with jax.numpy in the
place of numpy, so that JAX differentiates it. Writes into the folder OUTPUT, for each model:
  NAME.json          tokens, targets and mask [2, 20], and the loss: the mean of -log p(target) where the mask is 1
  NAME.safetensors   its gradient with respect to every tensor, rounded to f32
"""

import json
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np

import llama_float64

jax.config.update("jax_enable_x64", True)


def loss_of(config, tokens, targets, mask):
    def loss(weights):
        total = 0.0
        for row in range(len(tokens)):
            logprobs = jax.nn.log_softmax(llama_float64.forward(config, weights, tokens[row]), axis=-1)
            total += -(logprobs[jnp.arange(len(tokens[row])), targets[row]] * mask[row]).sum()
        return total / mask.sum()

    return loss


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, value in sorted(tensors.items()):
        raw = np.asarray(value, np.float32).tobytes()
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


output, *models = map(pathlib.Path, sys.argv[1:])
output.mkdir(parents=True, exist_ok=True)
for folder in models:
    config, weights = llama_float64.load(folder)
    vocabulary = len(weights["model.embed_tokens.weight"])
    rng = np.random.default_rng(20261127)
    tokens, targets = (rng.integers(0, vocabulary, (2, 20)) for _ in range(2))
    mask = (rng.random((2, 20)) < 0.7).astype(np.float64)
    llama_float64.np = jnp
    value, gradients = jax.value_and_grad(loss_of(config, tokens, targets, mask))({k: jnp.asarray(v) for k, v in weights.items()})
    llama_float64.np = np
    record = {"tokens": tokens.tolist(), "targets": targets.tolist(), "mask": mask.astype(int).tolist(), "loss": float(value)}
    (output / f"{folder.name}.json").write_text(json.dumps(record) + "\n")
    write_safetensors(output / f"{folder.name}.safetensors", gradients)
    print(f"{folder.name}: loss {float(value):.12f}, {len(gradients)} gradients by jax {jax.__version__}")
