"""Trainable parameters on all-MiniLM-L6-v2 are those of the papers' own counting, and of the `adapters` library."""

import pytest

from bench.context import Context
from bench.contract import Subject
from bench.models import base_model


@pytest.fixture(scope="module")
def context() -> Context:
    return Context(model=base_model())


@pytest.mark.parametrize(
    ("strategy", "count"),
    [
        ("full", 22_565_376),  # 22,713,216 in the file, less a pooler that mean pooling does not use
        ("full-merge", 22_565_376),
        ("lora(r=8, targets=query-value)", 73_728),
        ("lora(r=64, targets=query-value)", 589_824),
        ("lora(r=8)", 331_776),
        ("ia3", 16_128),  # key and value, inputs of attention's output layer and of the feed-forward output: PEFT's
        ("ia3(attention_output=false)", 13_824),  # the paper's three vectors a block
        ("bitfit", 25_728),
        ("layernorm", 9_984),
        ("prefix(tokens=20)", 92_160),
        ("prompt(tokens=20)", 7_680),
        ("adapter(reduction=16)", 113_040),
        ("adapter(reduction=8)", 223_776),
        ("adapter(reduction=16, placement=houlsby)", 226_080),
        ("dora(r=8)", 331_776 + 6 * (5 * 384 + 1536)),  # LoRA's, and a magnitude for each row of each weight
        ("top-layers(layers=2)", 2 * 1_774_464),
        ("top-layers(layers=6)", 6 * 1_774_464),
        ("vera(r=64)", 36 * 64 + 6 * (5 * 384 + 1536)),
    ],
)
def test_count(strategy: str, count: int, context: Context) -> None:
    assert Subject.of(strategy).build(context, ()).trainable_params == count


@pytest.mark.parametrize(
    "strategy", ["adapter", "lora", "prefix", "prompt", "ptuning", "adalora", "vera", "top-layers"]
)
def test_the_size_knob_runs_from_large_to_small(strategy: str, context: Context) -> None:
    cls = Subject.of(strategy).strategy
    sizes = [cls(config, context).trainable_params for config in cls.sizes(cls.Config())]

    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1]
    middle = sorted(set(sizes))[1]
    chosen = cls.resize(cls.Config(), middle, context)
    assert chosen is not None
    assert cls(chosen, context).trainable_params == middle
    assert cls.resize(cls.Config(), sizes[-1] - 1, context) is None
