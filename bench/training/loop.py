"""The one contrastive training loop: what is trained on what, when, and what stops it.

The sentence-transformers trainer runs the steps. This module decides the batches (`batches`), the number of steps
(`planning`), when to look at the development pool (`selection`), and which checkpoint is kept.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from datasets import Dataset as Table
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MultipleNegativesRankingLoss,
)
from sentence_transformers.util import cos_sim, dot_score
from torch.utils.data import BatchSampler
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback

from bench.budget import Budget
from bench.data.dataset import Pair, TrainingData
from bench.evaluation.flops import token_counts
from bench.models import precision
from bench.objectives.negatives import mine
from bench.records import PRIMARY_MEASURE, FitReport
from bench.retrieval.encode import Kind, prompt_of
from bench.strategy.resources import Resources
from bench.strategy.settings import TrainingSettings
from bench.training.attention import FastAttentionBackward
from bench.training.batches import contrastive_batches
from bench.training.memory import within_memory
from bench.training.planning import check_shape, finishing_seconds, planned_steps, shared_step_seconds
from bench.training.selection import training_pool
from bench.training.step_flops import StepFlops
from bench.training.tracking import UNTRACKED
from bench.training.watch import Watch, restore, snapshot

if TYPE_CHECKING:
    from bench.encoders.strategy import EncoderStrategy

__all__ = ["contrastive_loss", "restore", "snapshot", "train"]

_WARM_UP_STEPS, _MEASURED_STEPS = 2, 6
_PROBED_STEPS, _LOOKED_AT = 2, 1_000


def contrastive_loss(model: SentenceTransformer, settings: TrainingSettings) -> torch.nn.Module:
    """InfoNCE with in-batch negatives (van den Oord et al., 2018, eq. 4), `scale` = 1 / temperature.

    With `mini_batch` the same gradient is computed in pieces (GradCache, Gao et al., 2021); several devices gather
    their negatives.
    """
    shared: dict[str, Any] = {
        "scale": 1.0 / settings.temperature,
        "similarity_fct": dot_score if model.similarity_fn_name == "dot" else cos_sim,
        "gather_across_devices": torch.distributed.is_initialized(),
    }
    if settings.mini_batch:
        return CachedMultipleNegativesRankingLoss(model, mini_batch_size=settings.mini_batch, **shared)
    return MultipleNegativesRankingLoss(model, **shared)


def train(strategy: EncoderStrategy, data: TrainingData, budget: Budget, seed: int) -> FitReport:
    """Train a strategy's model within the budget, and leave it at its best checkpoint.

    Deterministic for a seed under a budget of steps or flops, on one machine class and thread count.
    """
    resources, settings = strategy.resources, strategy.resources.training
    with resources.meter.excluded():
        torch.manual_seed(seed)
        model = strategy.model
        pool = resources.development(data) if data.dev_qrels and data.labels >= settings.selection_floor else None
    total_params = sum(parameter.numel() for parameter in model.parameters())
    check_shape(budget, strategy.trainable_params, total_params, strategy.name)
    examples = list(strategy.examples(data))
    work = _Work(strategy, examples, data, seed)
    note = within_memory(budget, resources, len(work.columns), work.probe)
    kept = finishing_seconds(strategy, budget, work.identity(), pool)
    steps, binding = planned_steps(
        budget,
        work.step_flops(),
        lambda: shared_step_seconds(resources, work.identity(), work.measure_step),
        resources.meter.seconds + kept,
    )
    report = FitReport(
        planned_steps=steps,
        stopped_by=binding,
        examples=data.labels,
        trainable_params=strategy.trainable_params,
        notes=[note] if note else [],
    )
    watch = Watch(
        resources,
        report,
        budget.max_seconds,
        None if pool is None else lambda: pool.scores(strategy),
        lambda: snapshot(model),
    )
    if pool is not None:
        base = strategy.untrained_counterpart() or strategy
        watch.before(lambda: pool.scores(base))
    work.run(steps, seed, _Watching(strategy, watch))
    if watch.best is not None:
        restore(model, watch.best)
    report.train_flops = sum(islice(work.step_flops(), report.steps))
    resources.best_dev = report.best_dev
    report.chosen = strategy.finish(model, data)
    if pool is not None and not report.diverged:
        with resources.meter.excluded():
            report.train_measure = float(training_pool(data, resources).scores(strategy).mean())
    return report


class _Work:
    """The steps themselves: the same examples in the same batches for every strategy of a seed."""

    def __init__(self, strategy: EncoderStrategy, examples: Sequence[Pair], data: TrainingData, seed: int) -> None:
        self.strategy, self.examples, self.data, self.seed = strategy, examples, data, seed
        self.resources: Resources = strategy.resources
        columns = {"anchor": [pair.query for pair in examples], "positive": [pair.document for pair in examples]}
        mined: Sequence[Sequence[str]] = [pair.negatives for pair in examples]
        if self.settings.hard_negatives and not any(mined):
            mined = mine(data, examples, self.settings.hard_negatives, seed, self.resources)
        if any(mined):
            columns |= {f"negative_{n + 1}": list(texts) for n, texts in enumerate(zip(*mined, strict=True))}
        self.columns = columns
        self.labels = [list(pair.scores) for pair in examples if pair.scores]
        self._lengths: dict[str, np.ndarray] | None = None
        self._flops: StepFlops | None = None

    @property
    def settings(self) -> TrainingSettings:
        return self.resources.training

    def batches(self) -> Iterator[list[int]]:
        return contrastive_batches(self.examples, self.data.train_qrels, self.settings.batch_size, self.seed)

    def identity(self) -> tuple[object, ...]:
        """What a measured step time belongs to; the seed is not part of it."""
        strategy = self.strategy
        components = [(part.name, part.version, part.config) for part in strategy.components]
        named = strategy.name, strategy.version, strategy.config, components
        return (*named, self.settings, self.data.dataset, self.resources.model.name)

    def step_flops(self) -> Iterator[float]:
        """Return the operations of each step."""
        if self._flops is None:
            with self.resources.meter.excluded():
                self._flops = StepFlops(self.strategy, self.columns, self.lengths)
        return self._flops.of(self.batches())

    @property
    def lengths(self) -> dict[str, np.ndarray]:
        """Tokens of each text of each column, as the model cuts them."""
        if self._lengths is None:
            with self.resources.meter.excluded():
                model = self.strategy.model
                limit = min(self.resources.max_length or 10**9, model.max_seq_length or 512)
                self._lengths = {
                    name: token_counts(model, texts, _kind(name), limit) for name, texts in self.columns.items()
                }
        return self._lengths

    def measure_step(self) -> float:
        """Return the mean seconds of a step after warm-up, leaving the model as it was. Not charged."""
        with self.resources.meter.excluded():
            model = self.strategy.model
            state = snapshot(model)
            timer = _Timer()
            self.run(_WARM_UP_STEPS + _MEASURED_STEPS, self.seed, timer)
            restore(model, state)
        return float(np.mean(timer.seconds[_WARM_UP_STEPS:]))

    def probe(self) -> None:
        """Run as many steps as show the peak of memory, on the longest of the first batches; the model stays as it was.

        From the second step on, the optimiser's state is there too.
        """
        heaviest = max(islice(self.batches(), _LOOKED_AT), key=self._tokens)
        state = snapshot(self.strategy.model)
        self.run(_PROBED_STEPS, self.seed, _Timer(), [heaviest] * _PROBED_STEPS)
        restore(self.strategy.model, state)

    def _tokens(self, batch: list[int]) -> float:
        """Return the tokens of a batch, padding included."""
        return sum(float(column[batch].max()) * len(batch) for column in self.lengths.values())

    def run(self, steps: int, seed: int, callback: _Timer, batches: Sequence[list[int]] = ()) -> None:
        """Run the optimiser for `steps` steps, on the fit's own batches unless told otherwise."""
        model, settings, resources = self.strategy.model, self.settings, self.resources
        batches = batches or list(islice(self.batches(), steps))
        bf16 = precision.resolve(settings.precision, resources.device) == "bf16"
        tracking = resources.tracking if isinstance(callback, _Watching) else None
        with (
            tempfile.TemporaryDirectory(dir=resources.scratch) as scratch,
            _limited(model, resources.max_length),
            tracking.folders() if tracking else nullcontext(),
        ):
            arguments = SentenceTransformerTrainingArguments(
                output_dir=scratch,
                max_steps=steps,
                per_device_train_batch_size=settings.batch_size,
                learning_rate=self.strategy.config.lr,
                lr_scheduler_type="linear",
                warmup_steps=math.ceil(settings.warmup * steps),
                weight_decay=settings.weight_decay,
                max_grad_norm=settings.max_grad_norm,
                bf16=bf16,
                use_cpu=resources.device == "cpu",
                seed=seed,
                batch_sampler=lambda *args, **kwargs: _Fixed(batches),
                prompts=_prompts(model, self.columns),
                save_strategy="no",
                disable_tqdm=True,
                **(tracking.arguments(steps) if tracking else UNTRACKED),
            )
            with ExitStack() as setting_up:
                setting_up.enter_context(resources.meter.excluded())
                callback.on_first_step = setting_up.close
                trainer = _Trainer(
                    model=model,
                    args=arguments,
                    train_dataset=Table.from_dict(self.columns | ({"label": self.labels} if self.labels else {})),
                    loss=self.strategy.loss(model),
                    callbacks=[callback],
                )
                trainer.dropout = settings.dropout
                callback.log = trainer.log if tracking else callback.log
                trainer.remove_callback(PrinterCallback)
                trainer.train()
        model.eval()


class _Fixed(BatchSampler):
    """Batches that were decided before."""

    def __init__(self, batches: Sequence[list[int]]) -> None:
        self.batches = batches
        self.batch_size, self.drop_last = max(map(len, batches)), False

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)

    def set_epoch(self, epoch: int) -> None:
        """All steps are one epoch."""


class _Trainer(SentenceTransformerTrainer):
    """The library's trainer, with dropout off unless asked for, and the loss of the last step at hand."""

    dropout = False
    last_loss = math.nan

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """No model card: nothing is uploaded, and its examples cost seconds."""

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        with FastAttentionBackward():
            return super().training_step(*args, **kwargs)

    def compute_loss(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        if not self.dropout:
            model.eval()  # dropout is all that evaluation mode changes in these encoders; gradients flow as before
        result = super().compute_loss(model, *args, **kwargs)
        loss = result[0] if isinstance(result, tuple) else result
        type(self).last_loss = float(loss.detach())
        return result


class _Timer(TrainerCallback):
    """Measures steps."""

    def __init__(self) -> None:
        self.on_first_step: Callable[[], None] = lambda: None  # ends what is not charged: the trainer's setting up
        self.log: Callable[[dict[str, float]], None] = lambda values: None
        self.seconds: list[float] = []
        self._begin = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 0:
            self.on_first_step()
        self._begin = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds.append(time.perf_counter() - self._begin)


class _Watching(_Timer):
    """Tells a `Watch` of each step, and the strategy too."""

    def __init__(self, strategy: EncoderStrategy, watch: Watch) -> None:
        super().__init__()
        self.strategy, self.watch = strategy, watch

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """After the optimiser's step and before the gradients are cleared: AdaLoRA reads them."""
        self.strategy.on_step(self.strategy.model, state.global_step + 1, self.watch.report.planned_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        super().on_step_end(args, state, control, **kwargs)
        rate = float(kwargs["lr_scheduler"].get_last_lr()[0])
        looked = len(self.watch.report.curve)
        if self.watch.step(_Trainer.last_loss, self.seconds[-1], rate):
            control.should_training_stop = True
        for point in self.watch.report.curve[looked:]:
            if point.dev is not None:
                due = control.should_log  # a log clears it, and the loss of this step is still to come
                self.log({f"eval_{PRIMARY_MEASURE}": point.dev})
                control.should_log = due


@contextmanager
def _limited(model: SentenceTransformer, max_length: int | None) -> Iterator[None]:
    """Cut texts to `max_length` tokens for the length of a block."""
    length = model.max_seq_length
    if max_length is not None and length is not None:
        model.max_seq_length = min(max_length, length)
    try:
        yield
    finally:
        model.max_seq_length = length


def _prompts(model: SentenceTransformer, columns: dict[str, list[str]]) -> dict[str, str] | None:
    """Return the model's own prompts for each column; None where it has none."""
    prompts = {name: prompt_of(model, _kind(name)) for name in columns}
    return {name: prompt for name, prompt in prompts.items() if prompt} or None


def _kind(column: str) -> Kind:
    return "query" if column == "anchor" else "document"
