"""How much faster the backward pass of attention in bf16 is in `bench.training.attention` than in torch's own kernel.

    python benchmarks/attention.py [--page docs/performance.md] [--threads 1]

It uses 32 texts, 12 heads of 32 (as the base model has) and a mask. The two kernels take turns and processor seconds
are measured, so that other work on the machine affects both alike.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn.functional import scaled_dot_product_attention as fused

from bench.report.markdown import put_between
from bench.store.provenance import processor
from bench.training.attention import attention

TEXTS, HEADS, WIDTH, ROUNDS = 32, 12, 32, 9
TOKENS = (16, 32, 64, 128, 256, 512)


def seconds(function: Callable[..., torch.Tensor], tokens: int) -> tuple[float, float]:
    """Return processor seconds of one forward and of one backward pass."""
    projections = [torch.randn(TEXTS, tokens, HEADS, WIDTH, dtype=torch.bfloat16).transpose(1, 2) for _ in range(3)]
    inputs = [projection.requires_grad_() for projection in projections]
    mask = torch.ones(TEXTS, 1, tokens, tokens, dtype=torch.bool)
    start = time.process_time()
    result = function(*inputs, attn_mask=mask)
    between = time.process_time()
    result.backward(torch.ones_like(result))
    return between - start, time.process_time() - between


def measure(tokens: int) -> tuple[float, float, float, list[float]]:
    """Return medians in ms (forward pass, which is the same in both; torch's backward; ours) and all ratios."""
    rounds = [(seconds(fused, tokens), seconds(attention, tokens)) for _ in range(ROUNDS + 1)][1:]
    forward, theirs, ours = (
        1000 * statistics.median(values)
        for values in ([a[0] for a, _ in rounds], [a[1] for a, _ in rounds], [b[1] for _, b in rounds])
    )
    return forward, theirs, ours, [a[1] / b[1] for a, b in rounds]


def main() -> None:
    """Measure, then print the table or write it into a page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--page", type=Path, help="page with `<!-- attention: begin -->` and end")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    lines = [
        "| tokens | forward, ms | backward, torch, ms | backward, ours, ms | times faster |",
        "|---:|---:|---:|---:|---:|",
    ]
    for tokens in TOKENS:
        forward, theirs, ours, ratios = measure(tokens)
        lines.append(
            f"| {tokens} | {forward:.1f} | {theirs:.1f} | {ours:.1f} | {statistics.median(ratios):.1f} "
            f"({min(ratios):.1f} to {max(ratios):.1f}) |"
        )
    machine = processor()
    lines += [
        "",
        f"{TEXTS} texts, {HEADS} heads of {WIDTH}, bf16, medians of {ROUNDS} rounds in turn, processor time; "
        f"{machine}, {options.threads} thread{'s' * (options.threads > 1)}, torch {torch.__version__}; "
        "`python benchmarks/attention.py`.",
    ]
    if options.page:
        put_between(options.page, "attention", "\n".join(lines))
    else:
        sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
