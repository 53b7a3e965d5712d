"""What an expression means: one canonical form, components in a fixed order, the strategy that it builds."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from bench.config.schema import RunConfig
from bench.contract import Blueprint
from bench.encoders.strategy import EncoderStrategy
from bench.errors import BenchError
from bench.expression import ExpressionError, parse
from bench.models.base import BaseModel
from bench.objectives.listwise import Listwise
from bench.planning.build import canonical, components_of, needs_of
from bench.planning.plan import plan
from bench.planning.registry import Registry
from bench.representations.query_side import QuerySide

REGISTRY = Registry()
LABEL_FREE = """
from bench.objectives.contrastive import Contrastive


class Corpus(Contrastive):
    name = "corpus-only"
    needs = frozenset({"corpus"})
"""


@pytest.mark.parametrize(
    ("written", "form"),
    [
        ("lora", "lora"),
        ("lora(r=16)", "lora"),
        ("lora(r=8)", "lora(r=8)"),
        ("lora(lr=5e-4)", "lora"),
        ("lora(lr=1e-3)", "lora(lr=0.001)"),
        ("lora(objective=contrastive, representation=single)", "lora"),
        ("lora(representation=query-side)", "query-lora"),
        ("query-lora", "query-lora"),
        ("query-lora(r=16)", "query-lora"),
        ("query-lora(r=8, representation=query-side)", "query-lora(r=8)"),
        ("query-lora(representation=single)", "lora"),
        ("full(representation=multi)", "colbert"),
        ("full(representation=multi(dimension=128, store=int8))", "full(representation=multi(store=int8))"),
        ("hybrid(lora(r=16), weight=-1)", "hybrid(lora)"),
        ("full(start=lora(r=16))", "full(start=lora)"),
        ("full(objective=listwise(teacher=hybrid(lora(r=16)), candidates=6))",
         "full(objective=listwise(teacher=hybrid(lora)))"),
        ("lora(objective=contrastive(symmetric=false, hardness=0))", "lora"),
        ("lora(objective=contrastive(hardness=9, symmetric=yes))",
         "lora(objective=contrastive(hardness=9.0, symmetric=true))"),
        ("full(objective=matryoshka(contrastive(hardness=0), smallest=32))", "full(objective=matryoshka(contrastive))"),
        ("full(objective=matryoshka(triplet(margin=0.2), smallest=64))",
         "full(objective=matryoshka(triplet, smallest=64))"),
        ("full(objective=matryoshka(mined(contrastive(hardness=0), source=base)))",
         "full(objective=matryoshka(mined(contrastive)))"),
        ("full(objective=cropping)", "contriever"),
        ("full(objective=simcse, lr=0.001)", "simcse(lr=0.001)"),
        ("lora(objective=tsdae(deleted=0.6))", "lora(objective=tsdae)"),
        ("lora(start=full(objective=tsdae))", "lora(start=tsdae)"),
        ("full(objective=matryoshka(margin-mse(teacher=lora(r=16))))",
         "full(objective=matryoshka(margin-mse(teacher=lora)))"),
        ("distill(lora(r=16), teacher=hybrid(full(lr=5e-5)))", "distill(lora, teacher=hybrid(full))"),
        ("ia3(attention_output=True)", "ia3"),
        ("ia3(attention_output=no)", "ia3(attention_output=false)"),
        ("frozen(some/model)", "frozen(some/model)"),
        ("run:file.trec", "run:file.trec"),
    ],
)  # fmt: skip
def test_an_expression_has_one_canonical_form(written: str, form: str) -> None:
    found = canonical(parse(written), REGISTRY)
    assert str(found) == form
    assert canonical(found, REGISTRY) == found
    assert canonical(parse(str(found)), REGISTRY) == found


def test_a_size_stays_where_a_budget_would_choose_it() -> None:
    assert str(canonical(parse("lora(r=16)"), REGISTRY, keep_sizes=True)) == "lora(r=16)"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("lora(objective=contrastve)", "unknown objective 'contrastve', did you mean 'contrastive'"),
        ("lora(representation=singel)", "unknown representation 'singel', did you mean 'single'"),
        ("lora(objective=listwise(candidates=many))", "option candidates must be a whole number, got 'many'"),
        ("lora(objective=listwise(candidate=4))", "unknown option 'candidate', did you mean 'candidates'"),
        ("bm25(objective=contrastive)", "unknown option 'objective'"),
        ("full(objective=matryoshka)", r"matryoshka takes one objective: write matryoshka\(contrastive\)"),
        ("full(objective=matryoshka(mined(matryoshka(contrastive))))", "matryoshka stands in matryoshka"),
        ("full(objective=mined(listwise))", "mined gives negatives to labelled pairs, and listwise makes its own"),
        ("full(objective=mined(mined(contrastive)))", "mined stands in mined: write it once"),
        ("full(objective=matryoshka(contrastive, triplet))", "matryoshka takes one objective"),
        ("full(objective=matryoshka(tsdae))", "matryoshka wraps a loss on scores, and tsdae has none"),
        ("full(objective=triplet(contrastive))", "triplet takes no objective in parentheses"),
    ],
)
def test_what_is_not_known_is_named(written: str, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        canonical(parse(written), REGISTRY)


@pytest.mark.parametrize(
    ("written", "components"),
    [
        ("lora", []),
        ("hybrid(lora)", ["lora"]),
        ("full(start=lora)", ["lora"]),
        ("full(objective=listwise(teacher=rerank(frozen)), start=lora)", ["lora", "rerank(frozen)"]),
        ("full(objective=listwise(teacher=some/cross-encoder))", []),
        ("full(objective=matryoshka(margin-mse(teacher=bm25)), start=lora)", ["lora", "bm25"]),
        ("distill(lora, teacher=bm25)", ["lora", "bm25"]),
    ],
)
def test_components_are_positional_then_those_of_options_then_the_objectives(
    written: str, components: list[str]
) -> None:
    found, model = components_of(parse(written), REGISTRY)
    assert ([str(each) for each in found], model) == (components, None)


def test_too_many_components_are_refused() -> None:
    with pytest.raises(ExpressionError, match="hybrid takes 1 component: write hybrid"):
        components_of(parse("hybrid(lora, full)"), REGISTRY)


def test_an_objective_without_labels_is_shown_none(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(LABEL_FREE)
    registry = Registry([file])
    lora = registry.get("lora")
    assert needs_of(lora, lora.Config(), registry) == {"pairs"}
    assert needs_of(lora, lora.Config.parse({"objective": "corpus-only"}), registry) == {"corpus"}


def test_axes_and_components_reach_the_strategy(tiny_bert: BaseModel, tiny_resources: Callable[..., Any]) -> None:
    resources = tiny_resources(tiny_bert)
    start = Blueprint.of("full").build(resources, ())
    teacher = Blueprint.of("bm25").build(resources, ())
    blueprint = Blueprint.of("lora(objective=listwise(teacher=bm25), representation=query-side, start=full)")
    strategy = blueprint.build(resources, (start, teacher))
    assert isinstance(strategy, EncoderStrategy)
    assert isinstance(strategy.objective, Listwise) and strategy.objective.components == (teacher,)
    assert isinstance(strategy.representation, QuerySide) and strategy.reindex == "none"
    assert strategy.start is start


def test_two_spellings_are_planned_once_and_components_before_composites(toy_config: Callable[..., RunConfig]) -> None:
    spellings = (
        "lora,lora(r=16),lora(objective=contrastive),full(start=lora(r=16)),query-lora,lora(representation=query-side)"
    )
    planned = plan(toy_config(strategies=spellings, baseline="frozen", strategy_files=[]))
    assert [fit.strategy for fit in planned.fits] == ["frozen", "lora", "full(start=lora)", "query-lora"]
    by_name = {fit.name: fit for fit in planned.fits}
    (continued,) = (fit for fit in planned.fits if fit.strategy == "full(start=lora)")
    assert [by_name[name].strategy for name in continued.components] == ["lora"]


def test_an_objective_that_cannot_work_is_refused_when_the_run_is_planned(toy_config: Callable[..., RunConfig]) -> None:
    with pytest.raises(BenchError, match="listwise needs a teacher"):
        plan(toy_config(strategies="full(objective=listwise)", baseline="frozen", strategy_files=[]))
    with pytest.raises(BenchError, match="margin-mse needs a teacher"):
        plan(toy_config(strategies="full(objective=matryoshka(margin-mse))", baseline="frozen", strategy_files=[]))


def test_an_objective_is_refused_under_a_representation_that_it_cannot_work_with(
    toy_config: Callable[..., RunConfig],
) -> None:
    wrapped = "full(objective=matryoshka(contrastive), representation=query-side)"
    with pytest.raises(BenchError, match="matryoshka cannot work with representation query-side: it needs single"):
        plan(toy_config(strategies=wrapped, baseline="frozen", strategy_files=[]))


@pytest.mark.parametrize(
    ("strategy", "family", "reason"),
    [
        ("bitfit", "qwen3", "its layers have no biases. It works on bert, distilbert, mpnet, qwen2, roberta"),
        ("lora(start=bitfit)", "t5", "bitfit on model 'tiny-t5': bitfit cannot work on t5"),
        ("prompt", "mistral", "a decoder's batch begins with padding"),
        ("splade", "qwen3", "hold no weights of one"),
        ("simcse", "qwen3", "learns from dropout, and tiny-qwen3 has none"),
        ("simcse", "modernbert", "learns from dropout"),
        ("lora", "electra", "of family 'electra', whose modules AdaptBench does not know"),
    ],
)
def test_a_method_is_refused_on_a_family_when_the_run_is_planned(
    strategy: str, family: str, reason: str, toy_config: Callable[..., RunConfig], tiny_folder: Callable[[str], Path],
    tmp_path: Path,
) -> None:  # fmt: skip
    folder = tiny_folder("bert" if family == "electra" else family)
    if family == "electra":
        folder = Path(shutil.copytree(folder, tmp_path / "tiny-electra"))
        (folder / "config.json").write_text('{"model_type": "electra"}')

    with pytest.raises(BenchError, match=re.escape(reason)):
        plan(toy_config(strategies=strategy, model=str(folder), strategy_files=[], baseline="frozen"))


@pytest.mark.parametrize("model", ["openai:http://127.0.0.1:9/v1#m", "static"])
def test_token_vectors_of_a_model_without_any_are_refused_when_the_run_is_planned(
    model: str, toy_config: Callable[..., RunConfig], tmp_path: Path
) -> None:
    if model == "static":
        modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.StaticEmbedding"}]
        (tmp_path / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
        save_file({"embedding.weight": np.zeros((2, 3), dtype=np.float32)}, tmp_path / "model.safetensors")
        model = str(tmp_path)
    for strategy in ("colbert", "frozen(representation=multi)", "hybrid(lora(representation=multi(store=int8)))"):
        with pytest.raises(BenchError, match=r"compares the vectors of tokens, and model .* shows none"):
            plan(toy_config(strategies=strategy, baseline="frozen", strategy_files=[], model=[model]))
    plan(toy_config(strategies="frozen", baseline="frozen", strategy_files=[], model=[model]))


def test_a_wrapped_objective_is_named_and_its_version_identifies_the_fit(
    toy_config: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = toy_config(strategies="full(objective=matryoshka(triplet))", baseline="frozen", strategy_files=[])
    before = plan(config).fits[-1]
    assert before.name.startswith("full-objective-matryoshka-triplet")
    monkeypatch.setattr(REGISTRY.objective("triplet"), "version", 7)
    assert plan(config).fits[-1].name != before.name
