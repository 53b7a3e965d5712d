"""The optimiser steps of an encoder: the trainer of sentence-transformers on batches that are decided beforehand."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from itertools import islice, repeat
from typing import Any, Protocol

import numpy as np
import torch
from datasets import Dataset as Table
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from torch.utils.data import BatchSampler
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback

from bench.data.dataset import Pair, TrainingData
from bench.evaluation.flops import token_counts
from bench.models import precision
from bench.models.architectures import transformer_of
from bench.models.length import UNLIMITED, beginnings, cut_to, length_limit
from bench.records import PRIMARY_MEASURE
from bench.retrieval.encode import Kind, prompt_of
from bench.strategy.ranks import Ranks
from bench.strategy.settings import TrainingSettings
from bench.training.attention import FastAttentionBackward
from bench.training.batches import contrastive_batches
from bench.training.checkpointing import recomputed_blocks
from bench.training.decay import decaying
from bench.training.distributed import StepOrder
from bench.training.low_rank import low_rank_products
from bench.training.observer import observer
from bench.training.step_flops import StepFlops
from bench.training.task import NO_CHECKPOINTS, Checkpoints, FlopCounted, OnStep, Trainable
from bench.training.tracking import UNTRACKED


class TrainableEncoder(Trainable, FlopCounted, Protocol):
    """An encoder strategy, as its task sees it."""

    @property
    def dropout(self) -> bool:
        """Whether dropout is on in training."""
        ...

    @property
    def towers(self) -> Sequence[SentenceTransformer]:
        """The copies of the base model, each with its attachment, that the model is made of."""
        ...

    def loss(self, settings: TrainingSettings) -> torch.nn.Module:
        """Return the module that maps the columns of a batch to a loss."""
        ...

    def after_step(self, step: int, total: int) -> None:
        """Tell the method of an optimiser step."""
        ...


class EncoderTask:
    """Trains an encoder on pairs (`bench.training.task.TrainingTask`).

    For a seed, every strategy gets the same examples in the same batches in the same order.

    Args:
        strategy: what is trained.
        examples: queries with a positive document, and negatives or candidates where they have some.
        data: where they come from.
        seed: of the batches.
        refresh: makes the examples again with the model at work: other negatives beside the same queries and positives.
        refreshes: how often, at equal shares of the steps.
    """

    divisible = True

    def __init__(
        self,
        strategy: TrainableEncoder,
        examples: Sequence[Pair],
        data: TrainingData,
        seed: int,
        refresh: Callable[[], Sequence[Pair]] | None = None,
        refreshes: int = 0,
    ) -> None:
        self.strategy, self.examples, self.data, self.seed = strategy, list(examples), data, seed
        self.refresh, self.refreshes = refresh, refreshes
        self.resources = strategy.resources
        self.module = strategy.model
        self.mini_batch = self.resources.training.mini_batch
        self.texts, self.labels = self.columns_of(examples)
        self.columns = len(self.texts)
        self._lengths: dict[str, np.ndarray] | None = None

    def columns_of(self, examples: Sequence[Pair]) -> tuple[dict[str, list[str]], list[list[float]]]:
        """Return the texts of each column, cut to what the model can read, and the labels where there are some."""
        texts = {"anchor": [pair.query for pair in examples], "positive": [pair.document for pair in examples]}
        negatives: Sequence[Sequence[str]] = [pair.negatives for pair in examples]
        if any(negatives):
            texts |= {f"negative_{n + 1}": list(column) for n, column in enumerate(zip(*negatives, strict=True))}
        limit = min(self.resources.max_length or UNLIMITED, length_limit(self.module) or UNLIMITED)
        cut = {name: beginnings(self.module, column, limit) for name, column in texts.items()}
        return cut, [list(pair.scores) for pair in examples if pair.scores]

    @property
    def settings(self) -> TrainingSettings:
        """The training settings, with the piece that fits into memory."""
        return replace(self.resources.training, mini_batch=self.mini_batch)

    def batches(self) -> Iterator[list[int]]:
        """Yield the examples of each step, for ever."""
        return contrastive_batches(self.examples, self.data.train_qrels, self.settings.batch_size, self.seed)

    def step_flops(self) -> Iterator[float]:
        """Yield the operations of each step."""
        with self.resources.meter.excluded():
            flops = StepFlops(self.strategy, self.texts, self.lengths, self.settings.gradient_checkpointing)
            loss = self.strategy.loss(self.settings)
        return flops.of(self.batches(), loss, self.mini_batch)

    def step_seconds(self, measured: float) -> Iterator[float]:
        """Yield the charged seconds of each step: the measured ones."""
        return repeat(measured)

    @property
    def pairs_per_step(self) -> float:
        """The labelled pairs that a step uses: a batch."""
        return len(next(self.batches()))

    @property
    def lengths(self) -> dict[str, np.ndarray]:
        """Tokens of each text of each column, as the model cuts them."""
        if self._lengths is None:
            with self.resources.meter.excluded():
                limit = min(self.resources.max_length or UNLIMITED, length_limit(self.module) or UNLIMITED)
                self._lengths = {
                    name: token_counts(self.module, texts, _kind(name), limit) for name, texts in self.texts.items()
                }
        return self._lengths

    def run_steps(
        self,
        steps: int,
        on_step: OnStep,
        batches: Sequence[list[int]] = (),
        trial: bool = False,
        checkpoints: Checkpoints = NO_CHECKPOINTS,
    ) -> None:
        """Take optimiser steps until `steps` are done or `on_step` stops them. A trial tells nobody of its steps."""
        model, settings, resources = self.module, self.settings, self.resources
        ranks = resources.ranks
        batches = batches or list(islice(self.batches(), steps))
        ranks.order(StepOrder(steps, list(batches), self.mini_batch, trial, checkpoints.steps_taken))
        batches = [ranks.part(batch) for batch in batches]
        tracking = None if trial else resources.tracking
        with resources.meter.excluded():
            loss = self.strategy.loss(settings)
        ends_step = None if trial else self.strategy.after_step
        callback = _StepCallback(on_step, ends_step, ranks, loss, checkpoints)
        if self.refresh is not None and not trial:
            callback.fresh = _FreshRows(self, batches, refresh_steps(steps, self.refreshes))
        with (
            tempfile.TemporaryDirectory(dir=resources.scratch) as scratch,
            cut_to(model, resources.max_length),
            tracking.folders() if tracking else nullcontext(),
            ranks.together(),
            recomputed_blocks(map(transformer_of, self.strategy.towers))
            if settings.gradient_checkpointing
            else nullcontext(),
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
                bf16=precision.resolve(settings.precision, resources.device) == "bf16",
                use_cpu=resources.device == "cpu",
                seed=self.seed,
                batch_sampler=lambda *args, **kwargs: _FixedBatches(batches[checkpoints.steps_taken :]),
                prompts=_prompts(model, self.texts),
                learning_rate_mapping=getattr(loss, "learning_rates", {}),
                save_strategy="no",
                disable_tqdm=True,
                **(tracking.arguments(steps) if tracking else UNTRACKED),
            )
            with ExitStack() as setting_up:
                setting_up.enter_context(resources.meter.excluded())
                trainer = _Trainer(
                    callback,
                    ranks,
                    dropout=self.strategy.dropout,
                    model=model,
                    args=arguments,
                    train_dataset=Table.from_dict(self.texts | ({"label": self.labels} if self.labels else {})),
                    loss=loss,
                )
                callback.when_steps_begin = setting_up.close
                callback.log = trainer.log if tracking else None
                trainer.remove_callback(PrinterCallback)
                trainer.train()
            if tracking:
                with resources.meter.excluded():
                    tracking.finish()
        model.eval()


def refresh_steps(steps: int, refreshes: int) -> frozenset[int]:
    """Return the steps after which examples are made again: at equal shares, and not after the last step."""
    shares = (round(steps * number / (refreshes + 1)) for number in range(1, refreshes + 1))
    return frozenset(step for step in shares if 0 < step < steps)


class _FreshRows:
    """The rows of later batches, after their negatives were mined again with the model at work.

    The trainer fetches batches one step ahead from a table that stays as it is, so these rows take their place.

    Args:
        task: makes the examples again.
        batches: the examples of each step.
        due: the steps after which it does.
    """

    def __init__(self, task: EncoderTask, batches: Sequence[list[int]], due: Collection[int]) -> None:
        self.task, self.batches, self.due = task, batches, due
        self._texts: dict[str, list[str]] | None = None
        self._labels: list[list[float]] = []

    def state_dict(self) -> dict[str, Any]:
        """Return the examples that were made last."""
        return {"texts": self._texts, "labels": self._labels}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue with the examples that `state_dict` returned."""
        self._texts, self._labels = state["texts"], state["labels"]

    def after(self, step: int) -> None:
        """Mine again where it is due after this step."""
        if step in self.due:
            assert self.task.refresh is not None
            self._texts, self._labels = self.task.columns_of(self.task.refresh())

    def of(self, step: int) -> list[dict[str, Any]] | None:
        """Return the rows of the batch after this many steps; None while the table still holds them."""
        if self._texts is None:
            return None
        columns: dict[str, Sequence[Any]] = dict(self._texts) | ({"label": self._labels} if self._labels else {})
        return [{name: column[row] for name, column in columns.items()} for row in self.batches[step]]


class _FixedBatches(BatchSampler):
    """Batches that were decided beforehand."""

    def __init__(self, batches: Sequence[list[int]]) -> None:
        self.batches = batches
        self.batch_size, self.drop_last = max(map(len, batches)), False

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: all steps are one epoch."""


class _Trainer(SentenceTransformerTrainer):
    """The library's trainer, with dropout off unless the strategy asks for it. It tells the callback each loss."""

    def __init__(self, step_callback: _StepCallback, ranks: Ranks, *, dropout: bool, **arguments: Any) -> None:
        self._step_callback, self._dropout = step_callback, dropout
        super().__init__(callbacks=[step_callback], **arguments)
        self.loss: torch.nn.Module = ranks.parallel(arguments["loss"])

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Do nothing: a model card is never uploaded, and its examples cost seconds."""

    def get_decay_parameter_names(self, model: torch.nn.Module) -> list[str]:
        """Return the parameters that weight decay applies to: the same rule as in `bench.training.torch_loop`."""
        return sorted(decaying(model))

    def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        fresh = self._step_callback.fresh
        rows = fresh.of(self.state.global_step) if fresh is not None else None
        with FastAttentionBackward(), low_rank_products(model):
            return super().training_step(model, inputs if rows is None else self.data_collator(rows), *args, **kwargs)

    def compute_loss(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        if not self._dropout:
            model.eval()  # dropout is all that evaluation mode changes in these encoders; gradients flow as before
        result = super().compute_loss(model, *args, **kwargs)
        loss = result[0] if isinstance(result, tuple) else result
        self._step_callback.loss = float(loss.detach())
        return result


class _StepCallback(TrainerCallback):
    """Measures steps and reports each one.

    Args:
        on_step: called after each step; its answer stops the training.
        after_optimizer: called after the optimiser's step and before the gradients are cleared; AdaLoRA reads them.
        ranks: take the steps together. Rank 0 alone calls `on_step`; the seconds are those of all.
        loss: the module that holds whatever is trained.
        checkpoints: are told of the state of the loop.
    """

    def __init__(
        self,
        on_step: OnStep,
        after_optimizer: Callable[[int, int], None] | None,
        ranks: Ranks,
        loss: torch.nn.Module,
        checkpoints: Checkpoints,
    ) -> None:
        self.on_step, self.after_optimizer, self.ranks = on_step, after_optimizer, ranks
        self.module, self.checkpoints = loss, checkpoints
        self.when_steps_begin: Callable[[], None] = lambda: None
        self.log: Callable[[dict[str, float]], None] | None = None
        self.fresh: _FreshRows | None = None
        self.loss = math.nan
        self._begin = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 0:
            optimizer = kwargs["optimizer"]
            optimizer = getattr(optimizer, "optimizer", optimizer)  # accelerate wraps it
            self.checkpoints.begin(self.module, optimizer, kwargs["lr_scheduler"], self.fresh)
            state.global_step = self.checkpoints.steps_taken
            self.when_steps_begin()
        self.ranks.draw(args.seed, state.global_step)
        self._begin = time.perf_counter()

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.after_optimizer is not None:
            with observer().phase(""):  # a method may look at gradients, and must not make any
                self.after_optimizer(state.global_step + 1, args.max_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds = self.ranks.size * (time.perf_counter() - self._begin)
        rate = float(kwargs["lr_scheduler"].get_last_lr()[0])
        decision = self.ranks.shared(lambda: self.on_step(self.loss, seconds, rate))
        if decision.stop:
            control.should_training_stop = True
        elif self.fresh is not None:
            self.fresh.after(state.global_step)
        if self.log is not None and decision.dev is not None:
            due = control.should_log  # a log clears it, and the loss of this step is still to come
            self.log({f"eval_{PRIMARY_MEASURE}": decision.dev})
            control.should_log = due
        if not decision.stop:
            self.checkpoints.after_step()


def _prompts(model: SentenceTransformer, columns: dict[str, list[str]]) -> dict[str, str] | None:
    """Return the model's own prompts for each column; None where it has none."""
    prompts = {name: prompt_of(model, _kind(name)) for name in columns}
    return {name: prompt for name, prompt in prompts.items() if prompt} or None


def _kind(column: str) -> Kind:
    return "query" if column == "anchor" else "document"
