"""Trains a reader by TRL: supervised fine-tuning and direct preference optimisation, whole or by LoRA.

The loss of `sft` is the mean negative log-likelihood of the answer's tokens, the end included; the prompt has none. The
checkpoint with the highest likelihood of the gold answers to development questions is kept.
"""

from __future__ import annotations

import math
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.budget import OVERRUN
from bench.errors import BudgetError, ModelError
from bench.progress import Progress, silent
from bench.readers.adaptation import LORA, DpoOptions, SftOptions
from bench.readers.lessons import Lesson, Preference
from bench.readers.local import WEIGHTS, LocalReader
from bench.scratch import scratch_folder

WARM_UP = 0.1
"""Share of the steps in which the learning rate rises."""
EVALUATIONS = 5
"""Development evaluations of a training, at equal shares of its steps."""
DEV_QUESTIONS = 32
"""Development questions, at most, that choose the checkpoint."""
_IGNORED = -100
"""The label of a token without a loss."""
_TRIAL_STEPS = 4
"""Steps that measure what a step takes, the first of them for warm-up. Their learning rate is 0."""


@dataclass
class Tuned:
    """What a training did."""

    steps: int = 0
    best_step: int = 0
    """The step of the checkpoint that was kept."""
    stopped_by: str = "steps"
    """The limit that ended it: `steps` or `seconds`."""
    over_budget: bool = False
    """Whether it was stopped because it took 1.25 times the seconds that it was given."""
    seconds: float = 0.0
    """Seconds of its steps."""
    trainable_params: int = 0
    losses: list[float] = field(default_factory=list)
    """The loss of each step."""
    dev: dict[int, float] = field(default_factory=dict)
    """Step -> mean log-likelihood a token of the gold answers to development questions, in nats; step 0 is before."""


def tune(
    reader: LocalReader,
    options: SftOptions,
    lessons: Sequence[Lesson | Preference],
    dev: Sequence[Lesson],
    folder: Path,
    spent: float = 0.0,
    progress: Progress = silent,
) -> Tuned:
    """Train a reader, and write it as a plain model folder with the adapter merged into the weights.

    Args:
        reader: the reader before.
        options: method, budget and settings. `DpoOptions` learns from preferences.
        lessons: what it learns from: preferences for `DpoOptions`.
        dev: questions that choose the checkpoint; empty keeps the last one.
        folder: an empty folder for the model.
        spent: seconds of the budget that are used already.
        progress: is called with `tuning` and the numbers of steps done and planned.

    Raises:
        BudgetError: the budget does not pay for one step.
        ModelError: a package is missing, or the training diverged.
    """
    _require()
    with _quiet(), scratch_folder() as scratch:
        return _tune(reader, options, lessons, dev, folder, spent, progress, scratch)


def _tune(
    reader: LocalReader, options: SftOptions, lessons: Sequence[Lesson | Preference], dev: Sequence[Lesson],
    folder: Path, spent: float, progress: Progress, scratch: Path,
) -> Tuned:  # fmt: skip
    import torch

    torch.manual_seed(options.seed)
    model, tokenizer = reader.trainable()
    if options.method == LORA:
        model = _with_lora(model, options.r)
    data = [_tokens(reader, lesson) for lesson in lessons]
    tuned = Tuned(trainable_params=sum(p.numel() for p in model.parameters() if p.requires_grad))

    def trainer(steps: int, lr: float) -> Any:
        return _trainer(model, tokenizer, data, options, steps, lr, reader, scratch)

    steps, left = options.steps, options.seconds - spent if options.seconds else math.inf
    if options.seconds:
        allowed = int(left / _step_seconds(trainer))
        if allowed < 1:
            raise BudgetError(f"{options.seconds:g} seconds do not pay for one step of the reader")
        if allowed < steps:
            steps, tuned.stopped_by = allowed, "seconds"
    monitor = _Monitor(reader, model, dev, steps, left, tuned)
    trained = trainer(steps, options.lr)
    trained.add_callback(_callback(monitor, progress))
    trained.train()
    tuned.losses = [row["loss"] for row in trained.state.log_history if "loss" in row]
    if not np.isfinite(tuned.losses).all():
        raise ModelError(f"{reader.name}: the training diverged: its loss is not a number. Lower lr")
    monitor.restore_best()
    _write(model, reader.folder, folder)
    return tuned


def _require() -> None:
    from importlib.util import find_spec

    if find_spec("trl") is None:
        raise ModelError("adapting a reader needs the package trl: pip install 'adaptbench[answers]'")


@contextmanager
def _quiet() -> Iterator[None]:
    """Show no bars of libraries, and none of their announcements of later versions, for the length of a block."""
    from datasets import disable_progress_bars, enable_progress_bars
    from transformers.utils import logging

    logging.disable_progress_bar()
    disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        enable_progress_bars()


def _with_lora(model: Any, rank: int) -> Any:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(model, config)


def _tokens(reader: LocalReader, lesson: Lesson | Preference) -> dict[str, list[int]]:
    """Return a lesson as TRL's trainers take it: tokens, and labels for the answer alone."""
    prompt = reader.encode(lesson.messages)
    if isinstance(lesson, Preference):
        better, worse = reader.answer_tokens(lesson.better), reader.answer_tokens(lesson.worse)
        return {"prompt_ids": prompt, "chosen_ids": better, "rejected_ids": worse}
    answer = reader.answer_tokens(lesson.answer)
    return {"input_ids": prompt + answer, "labels": [_IGNORED] * len(prompt) + answer}


def _trainer(
    model: Any, tokenizer: Any, data: Sequence[dict[str, list[int]]], options: SftOptions, steps: int, lr: float,
    reader: LocalReader, scratch: Path,
) -> Any:  # fmt: skip
    """Return TRL's trainer for these lessons. It saves nothing, evaluates nothing, and reports to nobody."""
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    class PreparedDPOTrainer(DPOTrainer):
        """Takes tokens, so that prompt and answer are cut into the tokens that the reader is asked with."""

        def _prepare_dataset(self, dataset: Any, *args: Any) -> Any:
            return dataset

    shared = {
        "output_dir": str(scratch), "max_steps": steps, "learning_rate": lr, "warmup_steps": math.ceil(WARM_UP * steps),
        "lr_scheduler_type": "linear", "per_device_train_batch_size": options.batch, "weight_decay": 0.0,
        "max_length": None, "gradient_checkpointing": False, "bf16": reader.precision == "bf16",
        "use_cpu": reader.device == "cpu", "dataloader_pin_memory": reader.device != "cpu", "seed": options.seed,
        "data_seed": options.seed, "logging_steps": 1, "save_strategy": "no", "report_to": "none", "disable_tqdm": True,
    }  # fmt: skip
    kinds: tuple[Any, Any] = (SFTTrainer, SFTConfig)
    if isinstance(options, DpoOptions):
        kinds = (PreparedDPOTrainer, DPOConfig)
        shared["beta"] = options.beta  # the reference is the reader with its adapter switched off
    kind, settings = kinds
    trainer = kind(
        model=model, args=settings(**shared), train_dataset=Dataset.from_list(list(data)), processing_class=tokenizer
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _step_seconds(trainer: Callable[[int, float], Any]) -> float:
    """Return the mean seconds of a step after one for warm-up. Their learning rate is 0, so nothing changes."""
    taken: list[float] = []
    trial = trainer(_TRIAL_STEPS, 0.0)

    def after(step: int, seconds: float) -> bool:
        taken.append(seconds)
        return False

    trial.add_callback(_callback(after, silent))
    trial.train()
    return float(np.mean(taken[1:]))


def _callback(after: Callable[[int, float], bool], progress: Progress) -> Any:
    """Return a callback of the trainer that calls `after` with each step and its seconds, and may end there."""
    from transformers import TrainerCallback

    class Steps(TrainerCallback):
        began = 0.0

        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.began = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            stop = after(state.global_step, time.perf_counter() - self.began)
            progress("tuning", {"done": state.global_step, "total": state.max_steps})
            control.should_training_stop = control.should_training_stop or stop

    return Steps()


class _Monitor:
    """Counts steps and seconds, evaluates on development questions, and keeps the best checkpoint.

    Args:
        reader: the reader before.
        model: the model that is trained.
        dev: development questions.
        steps: planned steps.
        seconds: seconds of steps after which the plan was wrong; at 1.25 times of them the training ends.
        tuned: is filled in.
    """

    def __init__(
        self, reader: LocalReader, model: Any, dev: Sequence[Lesson], steps: int, seconds: float, tuned: Tuned
    ) -> None:
        self.model, self.dev, self.seconds, self.tuned = model, dev, seconds, tuned
        self.reader = reader.with_weights(model.get_base_model() if hasattr(model, "get_base_model") else model)
        self.due = {max(1, round(steps * share / EVALUATIONS)) for share in range(1, EVALUATIONS + 1)}
        self.best: dict[str, Any] | None = None
        if dev:
            tuned.dev[0] = self._score()

    def __call__(self, step: int, seconds: float) -> bool:
        """Take note of a step, and return whether the training must end."""
        tuned = self.tuned
        tuned.steps, tuned.seconds = step, tuned.seconds + seconds
        tuned.over_budget = tuned.seconds > OVERRUN * self.seconds
        if self.dev and (step in self.due or tuned.over_budget):
            score = self._score()
            if score > max((value for at, value in tuned.dev.items() if at), default=-math.inf):
                tuned.best_step = step
                self.best = {name: deepcopy(value.data) for name, value in self._trained()}
            tuned.dev[step] = score
        return tuned.over_budget

    def restore_best(self) -> None:
        """Put the best checkpoint back; without development questions the last one stays."""
        if self.best is None:
            self.tuned.best_step = self.tuned.steps
            return
        for name, value in self._trained():
            value.data.copy_(self.best[name])

    def _trained(self) -> Iterator[tuple[str, Any]]:
        return ((name, value) for name, value in self.model.named_parameters() if value.requires_grad)

    def _score(self) -> float:
        """Return the mean log-likelihood of a token of the gold answers to development questions."""
        import torch

        kind = self.reader.device.split(":")[0]
        with _evaluating(self.model), torch.autocast(kind, torch.bfloat16, self.reader.precision == "bf16"):
            scored = self.reader.score([each.messages for each in self.dev], [each.answer for each in self.dev])
            return float(np.mean([found.log_likelihood for _, found in scored]))


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def _write(model: Any, source: Path, folder: Path) -> None:
    """Write the trained model in fp32 beside the configuration and the tokeniser of the model that it comes from."""
    plain = model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
    plain.save_pretrained(folder)
    for path in source.iterdir():
        if path.is_file() and path.suffix != WEIGHTS and not path.name.endswith(".index.json"):
            shutil.copyfile(path, folder / path.name)
