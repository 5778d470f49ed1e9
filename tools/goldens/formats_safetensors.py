"""Writes the safetensors goldens of packages/formats: python tools/goldens/formats_safetensors.py packages/formats/test/data

Needs safetensors==0.8.0, ml_dtypes==0.6.0, numpy. `all-dtypes.safetensors` has every dtype, written by the safetensors
package; `all-dtypes.json` says what is in it. The `fp8` folder is a small block-quantized checkpoint in the layout that
Hugging Face and vLLM read, quantized and dequantized with ml_dtypes.
"""

import json
import pathlib
import sys

import ml_dtypes
import numpy as np
import safetensors
from safetensors._safetensors_rust import TensorSpec

out = pathlib.Path(sys.argv[1])
rng = np.random.default_rng(7)

WIDTHS = {
    "bool": 1, "uint8": 1, "int8": 1, "float8_e5m2": 1, "float8_e4m3fn": 1, "float8_e8m0fnu": 1, "float8_e4m3fnuz": 1,
    "float8_e5m2fnuz": 1, "int16": 2, "uint16": 2, "float16": 2, "bfloat16": 2, "int32": 4, "uint32": 4, "float32": 4,
    "float64": 8, "int64": 8, "uint64": 8,
}


def write(path, tensors, metadata=None):
    """tensors: name -> (dtype name, shape, array of bytes)"""
    specs = {
        name: TensorSpec(dtype=dtype, shape=list(shape), data_ptr=data.ctypes.data, data_len=data.nbytes)
        for name, (dtype, shape, data) in tensors.items()
    }
    path.write_bytes(safetensors.serialize(specs, metadata))


tensors = {}
for dtype, width in WIDTHS.items():
    data = rng.integers(0, 2 if dtype == "bool" else 256, 6 * width, dtype=np.uint8)
    tensors[f"t.{dtype}"] = (dtype, (2, 3), data)
tensors["scalar"] = ("float32", (), np.array([1.5], np.float32).view(np.uint8))
tensors["empty"] = ("float16", (0, 4), np.zeros(0, np.uint8))
tensors["naïve \"quoted\" 🎼"] = ("int16", (1,), np.array([1, 2], np.uint8))
tensors["\uffff"] = ("int16", (1,), np.array([3, 4], np.uint8))
tensors["\U00010000"] = ("int16", (1,), np.array([5, 6], np.uint8))
write(out / "all-dtypes.safetensors", tensors, {"format": "pt"})
described = {name: {"dtype": d, "shape": s, "hex": b.tobytes().hex()} for name, (d, s, b) in tensors.items()}
(out / "all-dtypes.json").write_text(json.dumps(described, indent=1) + "\n")

# FP8 blocks: a ragged 130 × 200 weight, f32 scales amax / 448.
folder = out / "fp8"
folder.mkdir(exist_ok=True)
weight = (rng.standard_normal((130, 200)) * rng.uniform(0.01, 4, (130, 1))).astype(np.float32)
scale = np.zeros((2, 2), np.float32)
codes = np.zeros(weight.shape, ml_dtypes.float8_e4m3fn)
restored = np.zeros_like(weight)
for i in range(2):
    for j in range(2):
        rows, columns = slice(i * 128, (i + 1) * 128), slice(j * 128, (j + 1) * 128)
        scale[i, j] = np.abs(weight[rows, columns]).max() / np.float32(448)
        codes[rows, columns] = (weight[rows, columns] / scale[i, j]).astype(ml_dtypes.float8_e4m3fn)
        restored[rows, columns] = codes[rows, columns].astype(np.float32) * scale[i, j]
norm = rng.standard_normal(200).astype(ml_dtypes.bfloat16)
prefix = "model.layers.0."
write(
    folder / "model.safetensors",
    {
        prefix + "mlp.up_proj.weight": ("float8_e4m3fn", weight.shape, codes.view(np.uint8)),
        prefix + "mlp.up_proj.weight_scale_inv": ("float32", scale.shape, scale.view(np.uint8)),
        prefix + "input_layernorm.weight": ("bfloat16", norm.shape, norm.view(np.uint8)),
    },
    {"format": "pt"},
)
config = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "quantization_config": {
        "activation_scheme": "dynamic",
        "fmt": "e4m3",
        "quant_method": "fp8",
        "weight_block_size": [128, 128],
    },
}
(folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
write(
    out / "fp8.expected.safetensors",
    {
        "f32": ("float32", weight.shape, restored.view(np.uint8)),
        "bf16": ("bfloat16", weight.shape, restored.astype(ml_dtypes.bfloat16).view(np.uint8)),
    },
)
