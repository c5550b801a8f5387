# SPDX-License-Identifier: Apache-2.0
# Writes dequantize_blocks.txt: python dequantize_blocks.py [blocks a type] > dequantize_blocks.txt
# Needs the packages gguf (its numpy dequantizers are the truth) and numpy.
import importlib.metadata as meta
import sys

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf import GGML_QUANT_SIZES, quants

blocks = int(sys.argv[1]) if len(sys.argv) > 1 else 1
scales = {  # byte offsets of FP16 fields, which must be finite
    T.Q8_0: [0], T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q2_K: [80, 82], T.Q3_K: [108],
    T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208]}
rng = np.random.default_rng(20250810)
print("# Random blocks and their values: per type two lines, `<type> <hex bytes>` and the FP32 values as little-endian hex.")
print(f"# Generator: dequantize_blocks.py, gguf {meta.version('gguf')}, numpy {np.__version__}, "
      f"command: python dequantize_blocks.py {blocks}")
for t in [T.F32, T.F16, T.BF16, *scales]:
    size = GGML_QUANT_SIZES[t][1]
    for _ in range(blocks):
        if t == T.F32:
            raw = rng.standard_normal(8).astype(np.float32).view(np.uint8)
        elif t == T.F16:
            raw = (rng.standard_normal(8) * 10.0 ** rng.integers(-7, 4, 8)).astype(np.float16).view(np.uint8)
        elif t == T.BF16:
            raw = (rng.standard_normal(8).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
        else:
            raw = rng.integers(0, 256, size, dtype=np.uint8)
            for at in scales[t]:
                value = rng.standard_normal() * 10.0 ** rng.integers(-7, 3)
                raw[at:at + 2] = np.array([value], np.float16).view(np.uint8)
        values = quants.dequantize(raw.reshape(1, -1).copy().view(np.float32 if t == T.F32 else np.float16 if t == T.F16 else np.uint8), t)
        print(t.name, raw.tobytes().hex())
        print(np.ascontiguousarray(values, np.float32).tobytes().hex())
