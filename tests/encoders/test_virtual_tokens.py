"""Virtual tokens: near the base model at the start, in use afterwards, and taking nothing from the text."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from bench.contract import Blueprint
from bench.contract.observing import embed
from bench.data.dataset import Dataset
from bench.data.locate import load_dataset
from bench.data.sample import sample_dataset
from bench.encoders.base import BaseEncoder
from bench.encoders.strategy import EncoderStrategy
from bench.evaluation.measures import evaluate
from bench.models.base import BaseModel
from bench.models.locate import base_model

ALL = ("prefix", "prompt", "ptuning", "prefix(reparametrise=true)")
TEXTS = ["dough", "the crane of the harbour was repaired twice last winter", "kiln glaze wheel " * 40]
Make = Callable[..., EncoderStrategy]


@pytest.fixture
def make(tiny_resources: Any) -> Make:
    """Return a function from an expression and a model to the strategy, its random start seeded."""

    def build(expression: str, model: BaseModel, **training: Any) -> EncoderStrategy:
        torch.manual_seed(0)
        strategy = Blueprint.of(expression).build(tiny_resources(model, **training), ())
        assert isinstance(strategy, EncoderStrategy)
        return strategy

    return build


def vectors(model: Any, texts: list[str] = TEXTS) -> torch.Tensor:
    with torch.no_grad():
        return embed(model, texts)


def exact_vectors(model: Any) -> torch.Tensor:
    """Return vectors in float64: in fp32, rounding alone can move those of a sharp attention by more than 1e-6."""
    return vectors(model.double())


def offsets(strategy: EncoderStrategy) -> list[torch.nn.Parameter]:
    return [parameter for parameter in strategy.model.parameters() if parameter.requires_grad]


@pytest.mark.parametrize("expression", ["prefix(noise=0)", "prompt(noise=0)", "ptuning", "prefix(reparametrise=true)"])
def test_with_offsets_of_zero_it_is_the_base_model_exactly(expression: str, make: Make, tiny_model: BaseModel) -> None:
    strategy = make(expression, tiny_model)

    torch.testing.assert_close(exact_vectors(strategy.model), exact_vectors(tiny_model.load()), atol=1e-12, rtol=0)


@pytest.mark.parametrize("expression", ["prefix(noise=0)", "prompt(noise=0)"])
def test_the_relative_positions_of_t5_stay(expression: str, make: Make, tiny_base: Callable[[str], BaseModel]) -> None:
    model = tiny_base("t5")

    torch.testing.assert_close(
        exact_vectors(make(expression, model).model), exact_vectors(model.load()), atol=1e-12, rtol=0
    )


@pytest.mark.parametrize("expression", ALL)
def test_what_is_trained_moves_every_text(expression: str, make: Make, tiny_model: BaseModel) -> None:
    strategy = make(expression, tiny_model)
    before = vectors(strategy.model)
    with torch.no_grad():
        for parameter in offsets(strategy):
            parameter.add_(torch.randn_like(parameter))

    moved = (vectors(strategy.model) - before).abs().max(dim=1).values

    assert bool((moved > 1e-3).all()), moved


@pytest.mark.parametrize("expression", ["prefix", "prompt"])
def test_each_virtual_token_has_a_gradient_of_its_own(expression: str, make: Make, tiny_model: BaseModel) -> None:
    strategy = make(expression, tiny_model)
    found = embed(strategy.model, TEXTS)
    (found * torch.randn_like(found)).sum().backward()

    for parameter in offsets(strategy):
        assert parameter.grad is not None
        assert bool((parameter.grad.abs().sum(dim=1) > 0).all())
        unit = torch.nn.functional.normalize(parameter.grad, dim=1)
        assert float((unit @ unit.T).min()) < 0.9999, "all virtual tokens would stay one and the same"


@pytest.mark.parametrize("expression", ALL)
def test_texts_of_full_length_are_taken_and_read_to_their_last_token(
    expression: str, make: Make, tiny_model: BaseModel
) -> None:
    model = make(expression, tiny_model).model
    features = model.preprocess(["dough kiln " * 60])
    assert features["input_ids"].shape == (1, 64), "as many tokens as the model has positions"
    other = {**features, "input_ids": features["input_ids"].clone()}
    other["input_ids"][0, 62] = features["input_ids"][0, 1] + 1

    with torch.no_grad():
        first, second = (model(dict(inputs))["sentence_embedding"] for inputs in (features, other))

    assert float((first - second).abs().max()) > 1e-4


@pytest.mark.parametrize("expression", ["prompt", "ptuning"])
def test_pooling_sees_the_text_alone(expression: str, make: Make, tiny_model: BaseModel) -> None:
    model = make(expression, tiny_model).model
    features = model.preprocess(TEXTS[:2])
    wanted = {name: tuple(features[name].shape) for name in ("input_ids", "attention_mask")}
    out = model[0](dict(features))

    assert tuple(out["token_embeddings"].shape[:2]) == wanted["input_ids"]
    assert tuple(out["attention_mask"].shape) == wanted["attention_mask"]


@pytest.mark.parametrize("expression", ["prefix", "prompt"])
def test_only_its_own_state_is_saved(expression: str, make: Make, tiny_bert: BaseModel, tmp_path: Any) -> None:
    from safetensors.torch import load_file

    strategy = make(expression, tiny_bert)
    strategy.save(tmp_path)

    saved = load_file(tmp_path / "trained.safetensors")
    assert sum(tensor.numel() for tensor in saved.values()) == strategy.trainable_params


@pytest.fixture(scope="module")
def ranked() -> Callable[[Any], float]:
    """Return a function that scores a strategy: nDCG@10 on a ninth of pydocs' questions and passages."""
    whole = load_dataset("pydocs")
    assert isinstance(whole, Dataset)
    qrels = dict(list(whole.qrels("test").items())[::9])
    kept = {doc for docs in qrels.values() for doc in docs} | set(whole.corpus.ids[::9])
    corpus = whole.corpus.subset([doc for doc in whole.corpus.ids if doc in kept])
    queries = {query: whole.queries[query] for query in qrels}

    def score(strategy: Any) -> float:
        found = strategy.search(queries, strategy.index(corpus), 10)
        return float(evaluate(found, qrels, ["ndcg@10"]).means()["ndcg@10"])

    return score


@pytest.mark.parametrize("expression", ["prefix", "prompt", "ptuning"])
def test_the_default_model_starts_within_a_hair_of_itself(expression: str, make: Make) -> None:
    base = base_model()
    texts = list(sample_dataset().corpus.texts[:12])
    start, frozen = vectors(make(expression, base).model, texts), vectors(base.load(), texts)

    assert float(torch.nn.functional.cosine_similarity(start, frozen).min()) > 0.99


def test_the_default_model_ranks_at_the_start_as_if_untouched_and_random_prefixes_do_not(
    make: Make, tiny_resources: Any, ranked: Callable[[Any], float]
) -> None:
    base, short = base_model(), {"max_length": 48, "precision": "auto"}
    frozen = ranked(BaseEncoder(None, tiny_resources(base, **short)))
    start = {
        expression: ranked(make(expression, base, **short))
        for expression in ("prefix", "prompt", "ptuning", "prefix(noise=1)")
    }
    lost = start.pop("prefix(noise=1)")
    assert all(abs(score - frozen) < 0.03 for score in start.values()), (frozen, start)
    assert lost < frozen - 0.05, "a start as wide as keys and values are ruins the ranking, and this test would see it"


def test_prompts_cost_operations_for_their_tokens_through_all_layers(make: Make, tiny_bert: BaseModel) -> None:
    from bench.evaluation.flops import flop_model

    prompt, prefix = flop_model(make("prompt", tiny_bert).model), flop_model(make("prefix", tiny_bert).model)

    assert (prompt.virtual_tokens, prefix.virtual_tokens) == (20, 0)
    assert prompt.reached == prompt.linear
    assert prompt.reached_share == prefix.reached_share == 1.0
    assert prefix.reached < prefix.linear, "below the first block's keys nothing needs a gradient"
