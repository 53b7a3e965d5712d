"""Writes the transformer of an exported model as ONNX beside its weights, and checks the file against them.

sentence-transformers' own ONNX export needs `optimum-onnx`, which has no release for transformers 5, so torch writes
the file. sentence-transformers and ONNX Runtime find it by its name, its place and the names of its tensors.
"""

from __future__ import annotations

import importlib.util
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import BenchError, NotApplicableError
from bench.models.architectures import transformer_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

FILE = Path("onnx") / "model.onnx"
TOLERANCE = 1e-3
"""Largest difference of a token's vector between ONNX Runtime and torch, relative to the largest value."""
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_TEXTS = ("a short one", "a text that is a little longer than the other, so that the batch is padded")


def require_onnx() -> None:
    """Check that the packages for ONNX are installed.

    Raises:
        BenchError: a package is missing; the message gives the command that installs it.
    """
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise BenchError(f"--onnx needs {', '.join(missing)}: pip install 'adaptbench[onnx]'")


def write_onnx(model: SentenceTransformer, folder: Path) -> Path:
    """Write the transformer of a model into a folder and return the path of the file.

    The inputs are (batch, length) of any size. The output `last_hidden_state` is (batch, length, width). The caller
    pools it.

    Raises:
        NotApplicableError: the model has no single transformer, or the file computes other vectors than the model.
    """
    import torch
    from sentence_transformers.base.modules import Router, Transformer

    first = model[0]
    if not isinstance(first, Transformer):
        if isinstance(first, Router):
            raise NotApplicableError("--onnx: queries and documents use different transformers, and one file holds one")
        raise NotApplicableError(f"--onnx writes a transformer, and the first module is a {type(first).__name__}")
    features = model.preprocess(list(_TEXTS))
    names = [name for name in _INPUTS if name in features]
    target = folder / FILE
    target.parent.mkdir(parents=True, exist_ok=True)
    dynamic = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            _last_hidden(first.model),
            tuple(features[name] for name in names),
            dynamo=True,
            dynamic_shapes=(dynamic,) * len(names),
            input_names=names,
            output_names=["last_hidden_state"],
            verbose=False,
        )
        program.save(str(target), external_data=False)
    _check(model, target, names)
    return target


def _check(model: SentenceTransformer, target: Path, names: list[str]) -> None:
    """Compare the file with torch on batches of other shapes than the traced one."""
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    for texts in (["one"], [*_TEXTS, "and a third text"]):
        features = model.preprocess(texts)
        with torch.no_grad():
            expected = _last_hidden(transformer_of(model))(*(features[name] for name in names)).numpy()
        (hidden,) = session.run(["last_hidden_state"], {name: features[name].numpy() for name in names})
        mask = features["attention_mask"].numpy().astype(bool)
        difference = float(np.abs(hidden - expected)[mask].max())
        if not difference <= TOLERANCE * float(np.abs(expected).max()):
            raise NotApplicableError(f"--onnx: the file's vectors differ from the model's by up to {difference:.2g}")


def _last_hidden(transformer: Any) -> Any:
    """Return the transformer as a module whose only output is the last hidden state."""
    import torch

    class LastHidden(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.transformer = transformer

        def forward(
            self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
        ) -> torch.Tensor:
            inputs = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
            output = self.transformer(input_ids=input_ids, attention_mask=attention_mask, return_dict=True, **inputs)
            hidden: torch.Tensor = output.last_hidden_state
            return hidden

    return LastHidden().eval()
