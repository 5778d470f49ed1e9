"""Writes the GGUF goldens of packages/formats: python tools/goldens/formats_gguf.py packages/formats/test/data

Needs gguf==0.19.0, safetensors==0.8.0, numpy. The files are written and dequantized by the gguf package, so the expected
values come from the reference formulas and not from this repository.
"""

import json
import pathlib
import sys

import numpy as np
from gguf import GGMLQuantizationType as Q
from gguf import GGUFValueType as V
from gguf import GGUFWriter
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize
from safetensors.numpy import save_file

out = pathlib.Path(sys.argv[1])
rng = np.random.default_rng(20240607)

# Offset of each f16 scale inside a block: random bytes there would often be Inf or NaN, so they are drawn apart.
SCALES = {
    Q.Q4_0: [0], Q.Q4_1: [0, 2], Q.Q5_0: [0], Q.Q5_1: [0, 2], Q.Q8_0: [0],
    Q.Q2_K: [80, 82], Q.Q3_K: [108], Q.Q4_K: [0, 2], Q.Q5_K: [0, 2], Q.Q6_K: [208],
}


def random_halves(count):
    """Finite f16 of every magnitude: subnormals, both signs, and the largest."""
    bits = rng.integers(0, 1 << 16, count, dtype=np.uint16)
    bits = np.where((bits & 0x7C00) == 0x7C00, bits & 0x83FF, bits).astype(np.uint16)
    bits[:3] = [0x0001, 0xFBFF, 0x8000][: min(3, count)]
    return bits


def quantized(kind, rows, blocks):
    elements, size = GGML_QUANT_SIZES[kind]
    raw = rng.integers(0, 256, (rows * blocks, size), dtype=np.uint8)
    for at in SCALES[kind]:
        raw[:, at : at + 2] = random_halves(rows * blocks).view(np.uint8).reshape(-1, 2)
    return raw.reshape(rows, blocks * size)


METADATA = [
    ("test.u8", V.UINT8, 255), ("test.i8", V.INT8, -128), ("test.u16", V.UINT16, 65535), ("test.i16", V.INT16, -32768),
    ("test.u32", V.UINT32, 4294967295), ("test.i32", V.INT32, -2147483648),
    ("test.u64", V.UINT64, 18446744073709551615), ("test.i64", V.INT64, -9223372036854775808),
    ("test.u64.small", V.UINT64, 9007199254740991), ("test.f32", V.FLOAT32, 0.1), ("test.f64", V.FLOAT64, 0.1),
    ("test.bool", V.BOOL, True), ("test.string", V.STRING, "naïve 日本語 🎼"),
]
ARRAYS = [
    ("test.a.u8", V.UINT8, [0, 255]), ("test.a.i8", V.INT8, [-128, 127]), ("test.a.u16", V.UINT16, [65535]),
    ("test.a.i16", V.INT16, [-32768, 1]), ("test.a.u32", V.UINT32, [4294967295]), ("test.a.i32", V.INT32, [-1, 0, 1]),
    ("test.a.u64", V.UINT64, [18446744073709551615, 1]), ("test.a.i64", V.INT64, [-9223372036854775808]),
    ("test.a.f32", V.FLOAT32, [0.5, -1.25]), ("test.a.f64", V.FLOAT64, [0.1]), ("test.a.bool", V.BOOL, [True, False]),
    ("test.a.string", V.STRING, ["", "a", "ß", "🎼"]),
]

writer = GGUFWriter(out / "types.gguf", "test")
writer.add_custom_alignment(64)
for key, kind, value in METADATA:
    writer.add_key_value(key, value, kind)
for key, kind, value in ARRAYS:
    writer.add_key_value(key, value, V.ARRAY, sub_type=kind)

expected = {}
for kind in SCALES:
    raw = quantized(kind, 3, 2 if GGML_QUANT_SIZES[kind][0] == 256 else 4)
    name = f"{kind.name}.weight"
    writer.add_tensor(name, raw, raw_dtype=kind)
    expected[name] = dequantize(raw, kind)
    assert np.isfinite(expected[name]).all()

plain = {
    "f32.weight": rng.standard_normal((2, 3, 5)).astype(np.float32),
    "f16.weight": rng.standard_normal((4, 7)).astype(np.float16),
    "f64.weight": rng.standard_normal(3),
    "i8.weight": rng.integers(-128, 128, (1, 2, 3, 4)).astype(np.int8),
    "i16.weight": rng.integers(-32768, 32768, 5).astype(np.int16),
    "i32.weight": rng.integers(-(2**31), 2**31, 5).astype(np.int32),
    "i64.weight": rng.integers(-(2**62), 2**62, 5).astype(np.int64),
}
for name, values in plain.items():
    writer.add_tensor(name, values)
    expected[name] = values
bf16 = rng.integers(0, 1 << 16, (2, 8), dtype=np.uint16)
writer.add_tensor("bf16.weight", bf16.view(np.uint8).reshape(2, 16), raw_dtype=Q.BF16)
expected["bf16.weight"] = bf16

writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
save_file(expected, out / "types.expected.safetensors")
values = {key: (str(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**53 else value)
          for key, _, value in METADATA}
values |= {key: [str(item) if kind in (V.UINT64, V.INT64) else item for item in value] for key, kind, value in ARRAYS}
values["test.f32"] = float(np.float32(0.1))
(out / "types.metadata.json").write_text(json.dumps(values, ensure_ascii=False, indent=1) + "\n")

# One tensor of a type that the reader does not support.
writer = GGUFWriter(out / "unsupported.gguf", "test")
writer.add_tensor("blk.0.ffn_up.weight", np.zeros((1, 66), np.uint8), raw_dtype=Q.TQ2_0)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
