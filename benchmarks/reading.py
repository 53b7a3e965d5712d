"""How many tokens a second a reader writes in batches, beside plain `transformers` with one prompt at a time.

    python benchmarks/reading.py [--reader smollm2] [--data-dir DATA] [--prompts 16] [--page docs/answers.md]

Both sides answer the same questions of `xquad`, each with its relevant passage, greedily. Plain means: the weights in
the format of their file (fp32), `model.generate` for each prompt. They take turns in parts, and processor seconds are
measured, so that other work on the machine affects both alike.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.data.dataset import Dataset
from bench.data.locate import load_dataset
from bench.readers.base import Messages
from bench.readers.local import LocalReader
from bench.readers.locate import reader_of
from bench.readers.prompts import Prompt
from bench.report.markdown import put_between
from bench.store.provenance import processor

MAX_TOKENS = 24
PARTS = 2


def prompts_of(dataset: Dataset, count: int) -> list[Messages]:
    """Return the prompts of the first test questions, each with its relevant passage."""
    prompt = Prompt()
    pairs = list(dataset.pairs("test"))[:: max(1, len(dataset.qrels("test")) // count)][:count]
    return [prompt.messages(pair.query, pair.document) for pair in pairs]


def plainly(model: Any, reader: LocalReader, prompts: Sequence[Messages]) -> tuple[int, float]:
    """Return the tokens that plain transformers writes, and its processor seconds."""
    import torch

    tokens, began = 0, time.process_time()
    for prompt in prompts:
        ids = torch.tensor([reader.encode(prompt)])
        made = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=MAX_TOKENS)
        tokens += made.shape[1] - ids.shape[1]
    return tokens, time.process_time() - began


def in_batches(reader: LocalReader, prompts: Sequence[Messages]) -> tuple[int, float]:
    """Return the tokens that the reader writes, and its processor seconds."""
    began = time.process_time()
    tokens = sum(written.tokens for _, written in reader.write(prompts, MAX_TOKENS))
    return tokens, time.process_time() - began


def main() -> None:
    """Measure, and print or write the table."""
    from transformers import AutoModelForCausalLM

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reader", default="smollm2")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--page", type=Path, help="the page whose table is replaced")
    options = parser.parse_args()
    reader = reader_of(options.reader)
    dataset = load_dataset("xquad", options.data_dir)
    if not isinstance(reader, LocalReader) or not isinstance(dataset, Dataset):
        sys.exit("a local reader is needed")
    prompts = prompts_of(dataset, options.prompts)
    model = AutoModelForCausalLM.from_pretrained(reader.folder).eval()
    in_batches(reader, prompts[:1])
    plainly(model, reader, prompts[:1])
    totals = {"plain": [0.0, 0.0], "batches": [0.0, 0.0]}
    for part in range(PARTS):
        own = prompts[part::PARTS]
        for name, (tokens, seconds) in (("plain", plainly(model, reader, own)), ("batches", in_batches(reader, own))):
            totals[name][0] += tokens
            totals[name][1] += seconds
    plain, batches = (tokens / seconds for tokens, seconds in totals.values())
    table = (
        f"| {reader.name}, {len(prompts)} prompts, one thread of {processor()} | tokens written a processor second |\n"
        f"|---|---:|\n| plain `transformers`, {model.dtype}, one prompt at a time | {plain:.1f} |\n"
        f"| this reader, {reader.precision}, batches of like length | {batches:.1f} |\n"
        f"| ratio | {batches / plain:.2f} |"
    )
    if options.page:
        put_between(options.page, "reading", table)
    sys.stdout.write(table + "\n")


if __name__ == "__main__":
    main()
