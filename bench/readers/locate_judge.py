"""Finds a judge by its name: an entailment classifier, or any reader."""

from __future__ import annotations

from bench.models.endpoint import PREFIX
from bench.readers.entailment import EntailmentJudge, is_classifier
from bench.readers.judges import Judge, JudgePrompt, ReaderJudge
from bench.readers.locate import model_folder, reader_of
from bench.readers.smollm2 import NAME


def judge_of(name: str, prompt: JudgePrompt | None = None, device: str = "cpu", precision: str = "auto") -> Judge:
    """Return the judge of a name.

    Args:
        name: a folder or hub name of an entailment classifier, or any reader.
        prompt: what a language model is asked; None is the default.
        device: where a local model runs.
        precision: `auto`, `bf16` or `fp32`, for a local language model.

    Raises:
        ModelError: there is no such model, or it tells no entailment.
    """
    if name != NAME and not name.startswith(PREFIX):
        folder = model_folder(name)
        if is_classifier(folder):
            return EntailmentJudge(folder, device=device)
    return ReaderJudge(reader_of(name, device, precision), prompt or JudgePrompt())
