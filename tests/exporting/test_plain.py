"""An exported model is the strategy in another form: the same scores, elsewhere, without this project."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.encoders.strategy import EncoderStrategy
from bench.errors import NotApplicableError
from bench.exporting.same_scores import check_same
from bench.expression import parse
from bench.models.base import BaseModel
from bench.planning.build import build as build_strategy
from bench.planning.build import config_of
from bench.planning.registry import Registry
from bench.strategy.base import Strategy

Adapted = Callable[..., Strategy]


@pytest.fixture
def adapted(tiny_base: Callable[[str], BaseModel], tiny_resources: Callable[..., Any]) -> Adapted:
    """A function from an expression and a model family to a strategy whose trained weights have changed."""

    def build(text: str, family: str = "bert", **training: Any) -> Strategy:
        resources = tiny_resources(tiny_base(family), **training)

        def make(text: str) -> Strategy:
            expression = parse(text)
            registry = Registry()
            components = [make(str(part)) for part in expression.arguments]
            options = {key: str(value) for key, value in expression.options}
            config = config_of(expression.name, options, registry)
            return build_strategy(registry.get(expression.name), config, registry, resources, components)

        torch.manual_seed(3)
        strategy = make(text)
        trained: Any = strategy.model if isinstance(strategy, EncoderStrategy) else getattr(strategy, "module", None)
        if trained is not None:
            with torch.no_grad():
                for parameter in trained.parameters():
                    if parameter.requires_grad or not isinstance(strategy, EncoderStrategy):
                        parameter.add_(0.1 * torch.randn_like(parameter))
        return strategy

    return build


EXPORTED = [
    ("frozen", "bert"),
    ("full", "bert"),
    ("bitfit", "mpnet"),
    ("lora", "bert"),
    ("lora", "modernbert"),
    ("dora", "distilbert"),
    ("vera(r=16)", "roberta"),
    ("adalora", "bert"),
    ("ia3", "bert"),
    ("ia3", "modernbert"),
    ("query-lora", "bert"),
    ("linear", "bert"),
    ("linear(rank=4)", "mpnet"),
    ("whitening(dimensions=16)", "bert"),
]
"""Each way of changing weights, on families that name their modules differently."""

ELSEWHERE = """
import json, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("bench", "strategies"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
from sentence_transformers import SentenceTransformer

texts = json.loads(sys.argv[1])
for folder in sys.argv[2:]:
    model = SentenceTransformer(folder, device="cpu")
    queries = model.encode_query(texts, normalize_embeddings=True)
    documents = model.encode_document(texts, normalize_embeddings=True)
    sys.stdout.write("VECTORS " + json.dumps([queries.tolist(), documents.tolist(), model.max_seq_length]) + "\\n")
"""


def elsewhere(texts: list[str], *folders: Path) -> list[tuple[np.ndarray, np.ndarray, int]]:
    """Load folders in a process in which this project cannot be imported, and return what they answer."""
    command = [sys.executable, "-I", "-c", ELSEWHERE, json.dumps(texts), *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    answers = [json.loads(line.removeprefix("VECTORS ")) for line in done.stdout.splitlines() if "VECTORS" in line]
    return [(np.array(queries), np.array(documents), length) for queries, documents, length in answers]


@pytest.mark.parametrize(("expression", "family"), EXPORTED)
def test_a_plain_model_scores_as_its_strategy_does(adapted: Adapted, expression: str, family: str) -> None:
    strategy = adapted(expression, family)
    assert check_same(strategy, strategy.to_sentence_transformer()) < 1e-4


def test_exported_folders_give_the_same_embeddings_without_this_project(adapted: Adapted, tmp_path: Path) -> None:
    """The last one was trained on texts of 16 tokens, and goes on cutting them there."""
    texts = ["the tide in the harbour", "who repairs the kiln of the pottery, and when? " * 3]
    strategies = {name: adapted(name) for name in ("full", "lora", "ia3", "query-lora", "linear")}
    strategies["short"] = adapted("lora", max_length=16)
    for name, strategy in strategies.items():
        strategy.to_sentence_transformer().save_pretrained(str(tmp_path / name), create_model_card=False)
    answers = elsewhere(texts, *(tmp_path / name for name in strategies))
    for (name, strategy), (queries, documents, length) in zip(strategies.items(), answers, strict=True):
        encoder: Any = strategy.encoder  # type: ignore[attr-defined]
        base = strategy.resources.encoder.uncached(texts, "document")
        np.testing.assert_allclose(queries, encoder.uncached(texts, "query"), atol=2e-5, err_msg=name)
        untouched = name in ("query-lora", "linear")
        wanted = base if untouched else encoder.uncached(texts, "document")
        np.testing.assert_allclose(documents, wanted, atol=2e-5, err_msg=name)
        assert np.abs(queries - base).max() > 1e-3, f"{name} did not move"
        assert length == (16 if name == "short" else 64)


def test_exporting_leaves_the_strategy_as_it_was(adapted: Adapted) -> None:
    for name in ("lora", "ia3"):
        strategy = adapted(name)
        before = {key: tensor.clone() for key, tensor in strategy.model.state_dict().items()}  # type: ignore[attr-defined]
        strategy.to_sentence_transformer()
        after = strategy.model.state_dict()  # type: ignore[attr-defined]
        assert all((before[key] == after[key]).all() for key in before), name


def test_a_chosen_prompt_travels_in_the_models_configuration(adapted: Adapted) -> None:
    strategy = adapted("instruct")
    strategy.prompt = "question: "  # type: ignore[attr-defined]
    model = strategy.to_sentence_transformer()
    assert model.prompts["query"] == "question: "
    assert check_same(strategy, model) < 1e-4


@pytest.mark.parametrize("expression", ["adapter", "prefix", "prompt"])
def test_modules_that_cannot_be_folded_are_refused_by_name(adapted: Adapted, expression: str) -> None:
    with pytest.raises(NotApplicableError, match=rf"{expression} adds modules .* cannot be folded"):
        adapted(expression).to_sentence_transformer()


@pytest.mark.parametrize("expression", ["prior", "bm25", "hybrid(lora)"])
def test_what_ranks_by_more_than_a_model_is_refused(adapted: Adapted, expression: str) -> None:
    with pytest.raises(NotApplicableError, match="more than one embedding model") as error:
        adapted(expression).to_sentence_transformer()
    assert ("component can be exported" in str(error.value)) == ("(" in expression)


def test_a_head_that_is_no_affine_map_is_refused(adapted: Adapted, monkeypatch: pytest.MonkeyPatch) -> None:
    strategy: Any = adapted("linear")
    monkeypatch.setattr(strategy, "apply", lambda vectors: vectors.relu())
    with pytest.raises(NotApplicableError, match="not an affine map"):
        strategy.to_sentence_transformer()


def test_a_model_that_scores_differently_is_not_passed_off_as_the_strategy(adapted: Adapted) -> None:
    strategy, other = adapted("lora"), adapted("frozen").to_sentence_transformer()
    with pytest.raises(NotApplicableError, match=r"scores up to .* differently"):
        check_same(strategy, other)
