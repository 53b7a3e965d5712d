"""The seven clauses. Each takes a trial and returns a finding; none changes the trial's fitted strategy."""

from __future__ import annotations

import re
from collections import defaultdict

import numpy as np

from bench.contract.finding import Finding
from bench.contract.subprocess_reload import Job, OtherProcess, save_tree
from bench.contract.trial import Trial, embed, frozen_digests, outcome, state_digests
from bench.encoders.strategy import EncoderStrategy
from bench.models.architectures import plain_name

_MOVED = 1e-6
"""Change of an answer that counts as one: above what fp32 rounding does to vectors of unit length."""
_JITTER = 0.02
"""Standard deviation of the noise that takes parameters off their start: at LoRA's own start the gradient of its first
matrix is zero, as the second one is zero."""
_COSINE = 0.9999
_TINY = 1e-5


def trains(trial: Trial) -> Finding:
    """1. Not a no-op: the declared number of parameters is trainable, a gradient reaches all, the result moves."""
    name, strategy = "trains", trial.fresh()
    if strategy.trains == "none":
        return Finding(name, True, "trains nothing, and says so")
    declared = strategy.trainable_params
    if isinstance(strategy, EncoderStrategy):
        problem = _unreached(trial, strategy, declared)
        if problem:
            return Finding(name, False, problem)
    report = trial.fitted.report
    if report.trainable_params != declared:
        return Finding(
            name, False, f"declares {declared:,} trainable parameters, but its report says {report.trainable_params:,}"
        )
    if trial.moved is not None and trial.moved <= _MOVED:
        return Finding(
            name,
            False,
            f"after {report.steps} steps no answer differs from the base model's (largest change {trial.moved:.1e}): "
            "what is trained is not what encodes. Did `attach` use `set_transformer`, and return its model?",
        )
    moved = "nothing to compare with" if trial.moved is None else f"answers moved by up to {trial.moved:.1e}"
    return Finding(name, True, f"{declared:,} trainable parameters, {moved}")


def _unreached(trial: Trial, strategy: EncoderStrategy, declared: int) -> str:
    """Say which trainable parameters get no gradient in one backward pass; empty where all do."""
    import torch

    model = strategy.model
    trainable = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    count = sum(parameter.numel() for parameter in trainable.values())
    if count == 0:
        return "attaches nothing: no parameter of the model has requires_grad after `attach`"
    if count != declared:
        return f"declares {declared:,} trainable parameters, but {count:,} have requires_grad"
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in trainable.values():
            noise = torch.randn(parameter.shape, generator=generator) * _JITTER
            parameter.add_(noise.to(parameter.device, parameter.dtype))
    vectors = embed(model, trial.sample_texts)
    direction = torch.randn(vectors.shape, generator=generator).to(vectors.device)
    if vectors.requires_grad:
        (vectors * direction).sum().backward()
    families: dict[str, bool] = defaultdict(bool)
    for name, parameter in trainable.items():
        if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
            return f"the gradient of {name} is not finite"
        families[re.sub(r"\.\d+\.", ".*.", name)] |= parameter.grad is not None and bool(parameter.grad.any())
    dead = sorted(name for name, reached in families.items() if not reached)
    if dead:
        return (
            f"no gradient reaches {', '.join(dead[:3])}{' ...' if len(dead) > 3 else ''}: the forward pass does not "
            "use them (an architecture that swallows what it is given, or a wrapper assigned to the wrong attribute)"
        )
    return ""


def frozen(trial: Trial) -> Finding:
    """2. The frozen part stays bit for bit the base model."""
    name, strategy = "frozen", trial.fitted.strategy
    base = state_digests(trial.settings.model.load())
    lent = state_digests(strategy.resources.encoder.model)
    if lent != base:
        moved = sorted(key for key in base if lent.get(key) != base[key])
        return Finding(name, False, f"the base model that was lent to it has changed: {', '.join(moved[:3])}")
    if not isinstance(strategy, EncoderStrategy):
        return Finding(name, True, "the base model that was lent to it is unchanged")
    before, after = trial.fitted.frozen_before, frozen_digests(strategy.model)
    moved = sorted(key for key in before if after.get(key) != before[key])
    if moved:
        return Finding(
            name,
            False,
            f"{len(moved)} of {len(before)} frozen tensors changed while it was trained and used: "
            f"{', '.join(moved[:3])}. Does `on_step`, `finish` or `merged` change weights? (Unmerging by subtraction "
            "does not give the same bits back: keep the weights.)",
        )
    trainable = {plain_name(key) for key, p in strategy.model.named_parameters() if p.requires_grad}
    kept = set(after.values())
    lost = sorted(key for key, digest in base.items() if key not in trainable and digest not in kept)
    if lost:
        text = f"{len(lost)} of the base model's tensors are neither trainable nor as they were: {', '.join(lost[:3])}"
        return Finding(name, False, text)
    shared = sum(key not in trainable for key in base)
    return Finding(name, True, f"{shared} of {len(base)} tensors are bit for bit the base model's, the rest trainable")


def batch(trial: Trial) -> Finding:
    """3. An embedding does not depend on batch mates or padding, and full-length texts are taken."""
    import torch

    name, strategy = "batch", trial.fitted.strategy
    if not isinstance(strategy, EncoderStrategy):
        return Finding(name, True, "no encoder of its own")
    texts = trial.sample_texts
    with torch.no_grad():
        together = embed(strategy.model.eval(), texts)
        alone = torch.cat([embed(strategy.model, [text]) for text in texts])
    cosine = torch.nn.functional.cosine_similarity(together, alone)
    worst = int(cosine.argmin())
    if float(cosine[worst]) > _COSINE:
        return Finding(name, True, f"alone or among longer texts: cosine {float(cosine[worst]):.6f} or more")
    return Finding(
        name,
        False,
        f"a text of {len(texts[worst])} characters has cosine {float(cosine[worst]):.4f} with itself once it is in a "
        "batch with longer ones: padding or virtual tokens are attended to or pooled",
    )


def reload(trial: Trial, elsewhere: OtherProcess) -> Finding:
    """4. Saved, and loaded in another process: the same embeddings or rankings."""
    name = "reload"
    folder = trial.scratch / "reload"
    save_tree(trial.fitted.strategy, folder)
    found = elsewhere.outcome(Job(trial.subject, trial.settings, folder))
    if found.shape != trial.outcome.shape:
        return Finding(name, False, f"{found.size} answers there, {trial.outcome.size} here")
    difference = float(np.abs(found - trial.outcome).max())
    allowed = min(_TINY, max(_MOVED, 0.01 * (trial.moved if trial.moved is not None else 1.0)))
    size = sum(path.stat().st_size for path in (folder / "saved").rglob("*") if path.is_file())
    if difference <= allowed:
        return Finding(name, True, f"the same answers from {size:,} bytes in another process")
    return Finding(
        name,
        False,
        f"answers differ by up to {difference:.1e} once it is loaded in another process (training moved them by "
        f"{trial.moved or 0:.1e}): `save` leaves something out, or `load` does not put it back",
    )


def detach(trial: Trial) -> Finding:
    """5. With its attachment switched off, the base model's embeddings are back, and then the adapted ones again."""
    import torch

    name, strategy = "detach", trial.fitted.strategy
    if not (isinstance(strategy, EncoderStrategy) and strategy.removable):
        return Finding(name, True, "not a removable attachment")
    texts = trial.sample_texts
    with torch.no_grad():
        adapted = embed(strategy.model.eval(), texts)
        with strategy.detached():
            detached = embed(strategy.model, texts)
        again = embed(strategy.model, texts)
        base = embed(trial.settings.model.load(), texts)
    left = float((detached - base).abs().max())
    if left > _TINY:
        return Finding(name, False, f"under `detached` embeddings differ from the base model's by up to {left:.1e}")
    if not torch.equal(adapted, again):
        return Finding(name, False, "after `detached` the adapted embeddings are not back")
    return Finding(name, True, f"the base model is back within {left:.0e}")


def budget(trial: Trial) -> Finding:
    """6. The budget is respected, and what was spent is what is reported."""
    name, fitted, limit = "budget", trial.fitted, trial.settings.steps
    report, taken = fitted.report, fitted.optimiser_steps
    if taken > limit:
        return Finding(name, False, f"took {taken} optimiser steps with a budget of {limit}")
    if report.steps != taken and (taken or fitted.strategy.trains == "encoder"):
        return Finding(name, False, f"took {taken} optimiser steps and reports {report.steps}")
    if report.steps > limit:
        return Finding(name, False, f"reports {report.steps} steps with a budget of {limit}")
    if fitted.strategy.trains == "encoder" and not taken:
        return Finding(name, False, "trains an encoder, but no torch optimiser took a step")
    if report.examples > trial.data.labels:
        return Finding(name, False, f"reports {report.examples} labelled pairs, it was given {trial.data.labels}")
    if report.train_seconds > fitted.charged_seconds:
        return Finding(
            name,
            False,
            f"reports {report.train_seconds:.2f} s of training, the meter charged {fitted.charged_seconds:.2f} s: "
            "training must not run under `meter.excluded()`",
        )
    return Finding(name, True, f"{taken} optimiser steps of {limit}, as reported")


def repeat(trial: Trial) -> Finding:
    """7. The same seed and a budget of steps give the same result (CPU, same thread count)."""
    again = outcome(trial.fit().strategy, trial.settings.dataset)
    difference = float(np.abs(again - trial.outcome).max())
    if difference == 0.0:
        return Finding("repeat", True, "a second fit with the same seed answers alike to the bit")
    return Finding(
        "repeat",
        False,
        f"a second fit with the same seed differs by up to {difference:.1e}: something random does not follow the seed",
    )
