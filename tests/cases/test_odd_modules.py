"""Base models with an odd module: vectors are those of the library's `encode`, or the model is refused when planned."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.config.schema import from_mapping
from bench.errors import ModelError
from bench.models.base import BaseModel
from bench.models.locate import base_model
from bench.planning.plan import plan
from bench.strategy.resources import Resources

TEXTS = ["bread and salt", "a river", "the tools with which gardens are kept in order", "", "salt " * 90]
WIDTH = 32


def tail(name: str) -> list[Any]:
    """Return the modules that follow the transformer."""
    from sentence_transformers.base.modules import Dense
    from sentence_transformers.sentence_transformer import modules as known

    def pooling(mode: Any) -> Any:
        return known.Pooling(WIDTH, pooling_mode=mode)

    return {
        "no normalisation": lambda: [pooling("mean")],
        "two poolings at once": lambda: [pooling(("cls", "mean"))],
        "max pooling": lambda: [pooling("max"), known.Normalize()],
        "last token": lambda: [pooling("lasttoken"), known.Normalize()],
        "weighted mean": lambda: [pooling("weightedmean"), known.Normalize()],
        "a dense layer with tanh": lambda: [pooling("mean"), Dense(WIDTH, 12, activation_function=torch.nn.Tanh())],
        "a dense layer after normalisation": lambda: [pooling("mean"), known.Normalize(), Dense(WIDTH, 12)],
        "a layer norm": lambda: [pooling("mean"), known.LayerNorm(WIDTH)],
        "dropout": lambda: [pooling("mean"), known.Dropout(0.5)],
    }[name]()  # type: ignore[no-untyped-call]


NAMES = (
    "no normalisation", "two poolings at once", "max pooling", "last token", "weighted mean", "a dense layer with tanh",
    "a dense layer after normalisation", "a layer norm", "dropout",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_vectors_are_those_of_the_library(
    name: str, tiny_bert: BaseModel, tiny_resources: Callable[..., Resources], tmp_path: Path
) -> None:
    from sentence_transformers import SentenceTransformer

    torch.manual_seed(0)
    made = SentenceTransformer(modules=[tiny_bert.load("cpu")[0], *tail(name)], device="cpu")
    made.save(str(tmp_path / "model"), create_model_card=False)
    expected = SentenceTransformer(str(tmp_path / "model"), device="cpu").encode(TEXTS, normalize_embeddings=True)
    encoder = tiny_resources(base_model(str(tmp_path / "model"))).encoder
    np.testing.assert_allclose(encoder.uncached(TEXTS, "document"), expected, atol=1e-5)


@pytest.mark.parametrize(("kind", "message"), [
    ("my_package.modeling.Custom", "code of its own"),
    ("os.path", "code of its own"),
    ("sentence_transformers.models.Nothing", "Nothing"),
    ("sentence_transformers.sentence_transformer.modules.NoSuch", "NoSuch"),
    ("", "code of its own"),
])  # fmt: skip
def test_a_module_that_is_not_known_is_refused(kind: str, message: str, tiny_bert: BaseModel, tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(tiny_bert.path, tmp_path / "model"))
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([*modules[:-1], {**modules[-1], "type": kind}]))
    with pytest.raises(ModelError, match=message):
        base_model(str(folder)).load()


@pytest.mark.parametrize(
    "content", ["[]", "{}", "7", "[1]", '[{"idx": 0}]', "[{]", "null", '[{"type": null, "path": 7}]']
)
def test_a_list_of_modules_that_is_none_is_a_model_error_when_planned(
    content: str, tiny_bert: BaseModel, tmp_path: Path, beir_folder: Path
) -> None:
    import shutil

    folder = Path(shutil.copytree(tiny_bert.path, tmp_path / "model"))
    (folder / "modules.json").write_text(content)
    config = from_mapping({"strategies": ["frozen"], "datasets": [str(beir_folder)], "model": str(folder)})
    try:
        plan(config)
    except ModelError:
        return
    base_model(str(folder)).load()
