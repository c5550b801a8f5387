#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tokens a second of teacher-forced perplexity in plain PyTorch, eager: the work of perplexity_bench's fp16 row without its
comparison with an exact model. SmolLM2-135M's shape with random weights, since time does not depend on them. Needs no
network and nothing but PyTorch 2.5 or newer.

  torch_perplexity.py [--device cuda] [--json FILE]      --device cpu: a check of this program in FP32, no figure
"""
import argparse
import json
import math
import sys
import time

try:
    import torch
    import torch.nn.functional as F
except ImportError as error:
    sys.exit(f"torch_perplexity: PyTorch cannot be used: {error}")

LAYERS, D, HEADS, KV_HEADS, DH, FFN, VOCAB = 30, 576, 9, 3, 64, 1536, 49152
EPS, THETA = 1e-5, 1e5
WINDOW, WARM_UP, PASSES, ROUNDS = 512, 5, 50, 3
BATCHES = 1, 4  # windows of a pass; perplexity_bench scores four at once (--lanes)


class Model:
    def __init__(self, device, dtype):
        def matrix(rows, columns):
            return torch.randn(rows, columns, device=device, dtype=dtype) / math.sqrt(columns)

        shapes = {"q": (HEADS * DH, D), "k": (KV_HEADS * DH, D), "v": (KV_HEADS * DH, D), "o": (D, HEADS * DH),
                  "gate": (FFN, D), "up": (FFN, D), "down": (D, FFN)}
        self.layers = [{name: matrix(*shape) for name, shape in shapes.items()} for _ in range(LAYERS)]
        self.embedding = matrix(VOCAB, D)  # also the output's
        self.scale = torch.ones(D, device=device, dtype=dtype)  # of every RMSNorm
        frequencies = THETA ** (-torch.arange(0, DH, 2, device=device, dtype=torch.float32) / DH)
        angles = torch.outer(torch.arange(WINDOW, device=device, dtype=torch.float32), frequencies)
        self.cos, self.sin = angles.cos().to(dtype), angles.sin().to(dtype)  # [n, dh/2]

    def norm(self, x):
        return F.rms_norm(x, (D,), self.scale, EPS)

    def rope(self, x):
        """x [batch, heads, n, dh]: adjacent values are a pair."""
        even, odd = x[..., 0::2], x[..., 1::2]
        return torch.stack((even * self.cos - odd * self.sin, even * self.sin + odd * self.cos), -1).flatten(-2)

    def logits(self, tokens):
        """tokens [batch, n] -> [batch, n, vocab]"""
        batch, n = tokens.shape
        x = F.embedding(tokens, self.embedding)
        for w in self.layers:
            h = self.norm(x)
            q, k, v = (F.linear(h, w[name]).view(batch, n, -1, DH).transpose(1, 2) for name in "qkv")
            a = F.scaled_dot_product_attention(self.rope(q), self.rope(k), v, is_causal=True, enable_gqa=True)
            x = x + F.linear(a.transpose(1, 2).reshape(batch, n, HEADS * DH), w["o"])
            h = self.norm(x)
            x = x + F.linear(F.silu(F.linear(h, w["gate"])) * F.linear(h, w["up"]), w["down"])
        return F.linear(self.norm(x), self.embedding)

    def nll(self, tokens):
        """The sum over all positions, in FP32; a tensor, so that nothing waits for it."""
        log_p = F.log_softmax(self.logits(tokens)[:, :-1], -1, dtype=torch.float32)
        return -log_p.gather(-1, tokens[:, 1:, None]).sum()


def measure(model, batch, device):
    """The fastest of several rounds, as perplexity_bench takes it."""
    gpu = device == "cuda"
    warm_up, passes, rounds = (WARM_UP, PASSES, ROUNDS) if gpu else (0, 1, 1)
    tokens = torch.randint(VOCAB, (batch, WINDOW), device=device)
    total = sum(model.nll(tokens) for _ in range(warm_up))
    seconds = math.inf
    for _ in range(rounds):
        if gpu:
            torch.cuda.synchronize()
        start = time.perf_counter()
        total = total + sum(model.nll(tokens) for _ in range(passes))
        if gpu:
            torch.cuda.synchronize()
        seconds = min(seconds, (time.perf_counter() - start) / passes)
    if not math.isfinite(float(total)):
        sys.exit("torch_perplexity: the loss is not finite")
    return {"batch": batch, "windows_per_round": batch * passes, "tokens_per_second": batch * WINDOW / seconds}


def main():
    parser = argparse.ArgumentParser(description="Tokens a second of perplexity in plain PyTorch")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--json", metavar="FILE", help="the printed object, into this file too")
    options = parser.parse_args()
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 5):
        sys.exit(f"torch_perplexity: PyTorch 2.5 or newer is needed, and this is {torch.__version__}")
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("torch_perplexity: PyTorch finds no GPU that it can use")
    dtype = torch.float16 if options.device == "cuda" else torch.float32
    torch.manual_seed(1)
    with torch.inference_mode():
        model = Model(options.device, dtype)
        rows = [measure(model, batch, options.device) for batch in BATCHES]
    text = json.dumps({"device": torch.cuda.get_device_name() if options.device == "cuda" else "cpu",
                       "torch": torch.__version__, "dtype": str(dtype).removeprefix("torch."), "window": WINDOW,
                       "rows": rows}, indent=2)
    print(text)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            file.write(text + "\n")


if __name__ == "__main__":
    main()
