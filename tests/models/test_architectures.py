"""Module names are checked against the models themselves: a name that matches nothing would train nothing."""

import re
from typing import Any

import pytest
import torch
from torch import nn

from bench.errors import BenchError, NotApplicableError
from bench.models.architectures import FAMILIES, ROLES, Architecture, family, refuse, set_transformer, transformer_of
from bench.models.base import BaseModel


@pytest.fixture
def loaded(tiny_model: BaseModel) -> Any:
    return tiny_model.load()


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_roles_cover_the_linear_layers_of_the_blocks_and_all_norms_are_listed(name: str, tiny_base: Any) -> None:
    loaded = tiny_base(name).load()
    architecture = family(loaded)
    names = [each for each, _ in loaded.named_modules()]
    assert architecture is FAMILIES[name]
    for role in ROLES:
        linears = list(architecture.linears(loaded, role))
        matching = [each for each in names if re.fullmatch(architecture.pattern([role]), each)]
        has_one = role != "gate" or bool(architecture.gate)
        assert len(linears) == (len(matching) if has_one else 0) == (2 if has_one else 0)
        assert all(isinstance(linear, nn.Linear) for linear in linears)

    blocks = architecture.blocks(loaded)
    inside = {id(module) for block in blocks for module in block.modules() if isinstance(module, nn.Linear)}
    assert {id(linear) for role in ROLES for linear in architecture.linears(loaded, role)} == inside

    every = [each for each in transformer_of(loaded).modules() if type(each).__name__.endswith("Norm")]
    assert {id(norm) for norm in architecture.layer_norms(loaded)} == {id(norm) for norm in every}
    biases = [each for each, _ in transformer_of(loaded).named_parameters() if each.endswith("bias")]
    own = [each for each in biases if "norm" not in each.lower() and "relative_attention_bias" not in each]
    assert architecture.has_biases == bool(own)
    assert architecture.is_decoder == (loaded.tokenizer.padding_side == "left")


def test_a_layer_norm_behind_the_transformer_counts(tiny_bert: BaseModel) -> None:
    from sentence_transformers.sentence_transformer.modules import LayerNorm

    model = tiny_bert.load()
    model.append(LayerNorm(32))

    assert model[-1] in list(family(model).layer_norms(model))


def test_slices_of_query_key_and_value_cover_a_fused_layer_once(loaded: Any) -> None:
    architecture = family(loaded)
    parts = {role: architecture.slice_of(role, 96) for role in ("query", "key", "value")}

    if architecture.fused:
        assert [(part.start, part.stop) for part in parts.values()] == [(0, 32), (32, 64), (64, 96)]
    else:
        assert all((part.start, part.stop) == (0, 96) for part in parts.values())
    assert architecture.slice_of("output", 32) == slice(0, 32)


def test_positions_that_no_token_uses_are_counted_right(loaded: Any) -> None:
    architecture, transformer = family(loaded), transformer_of(loaded)
    table = getattr(transformer.embeddings, "position_embeddings", None)
    used: set[int] = set()
    if table is not None:
        table.register_forward_hook(lambda module, args, output: used.update(args[0].flatten().tolist()))
        loaded.encode(["the crane of the harbour"])
        assert min(used) == architecture.position_offset


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_pefts_prefix_tuning_does_what_the_table_says(name: str, tiny_base: Any) -> None:
    from peft import PrefixTuningConfig, get_peft_model

    model = tiny_base(name).load()
    base = model.encode(["a"])  # one token: past its window, ModernBERT raises instead of ignoring
    try:
        config = PrefixTuningConfig(num_virtual_tokens=4, task_type="FEATURE_EXTRACTION")
        set_transformer(model, get_peft_model(transformer_of(model), config))
        prompt = next(p for p in model.parameters() if p.requires_grad)
        with torch.no_grad():
            prompt.normal_()
        changed = bool(abs(model.encode(["a"]) - base).max() > 1e-4)
        found = "works" if changed else "ignored"
    except (KeyError, AttributeError, ValueError, TypeError, RuntimeError):
        found = "raises"

    assert found == FAMILIES[name].peft_prefix


def test_the_error_of_an_unknown_family_lists_the_known_ones(tiny_bert: BaseModel) -> None:
    model = tiny_bert.load()
    transformer_of(model).config.model_type = "deberta-v2"

    with pytest.raises(NotApplicableError, match=r"'deberta-v2'.*bert, distilbert, llama, mistral, modernbert, mpnet"):
        family(model)


def test_a_model_without_transformer_is_refused() -> None:
    class Static(nn.Module):
        pass

    with pytest.raises(NotApplicableError, match="Static, not a transformer"):
        transformer_of([Static()])  # type: ignore[arg-type]


def test_a_mistyped_role_is_an_error() -> None:
    with pytest.raises(BenchError, match="did you mean 'query'"):
        FAMILIES["bert"].targets(["qury"])


def test_a_refusal_names_reason_and_alternatives() -> None:
    found: Architecture = FAMILIES["modernbert"]

    text = str(refuse("bitfit", found, "its layers have no biases", ["roberta", "bert"]))

    assert text == "bitfit cannot work on modernbert: its layers have no biases. It works on bert, roberta."
