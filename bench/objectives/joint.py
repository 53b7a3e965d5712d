"""Retriever and reader learn in turns: end-to-end training of both, in rounds that fit one machine.

A round fine-tunes the reader on the passages that the retriever finds now, then teaches the retriever by that reader's
likelihoods of the gold answers (Shi et al., 2023, section 4). End-to-end training of both is due to Lewis et al. (2020)
and, for a domain, to Siriwardhana et al. (2023, RAG-end2end).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from bench.data.dataset import TrainingData
from bench.errors import BenchError
from bench.objectives.listwise import READER_TEMPERATURE, Listwise
from bench.readers.adaptation import SftOptions
from bench.readers.lessons import Lesson
from bench.readers.local import LocalReader
from bench.readers.prompts import Prompt
from bench.readers.teacher import Teacher, is_reader
from bench.readers.tuning_process import tune_apart
from bench.retrieval.ranking import Ranking
from bench.store.answers import ReadingCache
from bench.strategy.base import Strategy
from bench.strategy.hyperparameters import StrategyConfig
from bench.strategy.resources import Resources
from bench.strategy.space import Choice, LogUniform, Param

READER_FOLDER = "reader"
"""The adapted reader in the folder of the fit: a plain model folder."""


class Joint(Listwise):
    """As `listwise` with a reader as the teacher, where the reader is fine-tuned before each round.

    The rounds begin at equal shares of the retriever's steps. Each has the retriever find passages anew, for the
    reader's lessons and for the candidates.
    """

    name = "joint"
    summary = "retriever and reader learn in turns: the reader on what is found, the retriever from the reader"
    component_options = ()

    @dataclass(frozen=True)
    class Config(StrategyConfig):
        """`rounds` of `reader_steps` optimiser steps of the reader; the other options are those of `listwise`.

        The reader is trained with LoRA at the peak rate `reader_lr`, which rises and falls within each round.
        """

        teacher: str = "reader(smollm2)"
        rounds: int = 2
        reader_steps: int = 30
        reader_lr: float = 2e-4
        candidates: int = 6
        teacher_temperature: float = READER_TEMPERATURE
        max_length: int = 256
        space: ClassVar[Mapping[str, Param]] = {
            "candidates": Choice((4, 6, 8, 16)),
            "teacher_temperature": LogUniform(0.1, 2.0),
        }
        positive: ClassVar[tuple[str, ...]] = ("rounds", "reader_steps", "reader_lr")

    def __init__(
        self, config: StrategyConfig | None, resources: Resources, components: Sequence[Strategy] = ()
    ) -> None:
        super().__init__(config, resources, components)
        self.refreshes = self.config.rounds - 1
        self._reader: LocalReader | None = None
        self._round = 0
        self._readers: TemporaryDirectory[str] | None = None

    @classmethod
    def check(cls, config: StrategyConfig) -> None:
        """Refuse a teacher that is no reader, and lists of one document."""
        super().check(config)
        assert isinstance(config, cls.Config)
        if not is_reader(config.teacher):
            raise BenchError(f"{cls.name} trains a reader, and {config.teacher} is none: write teacher=reader(smollm2)")

    def teacher(self, data: TrainingData, rankings: Ranking) -> Teacher:
        """Return the reader after it has learned from the first passage that is found for each training question."""
        resources, config = self.resources, self.config
        with resources.meter.excluded():
            before = self._reader or Teacher.of(config.teacher, resources.device, resources.training.precision).reader
            folder = self._new_folder()
            options = SftOptions(steps=config.reader_steps, lr=config.reader_lr, seed=data.seed)
            tuned = tune_apart(before, options, self._lessons(before, data, rankings), folder)
            self._reader = LocalReader(folder, before.name, before.device, before.precision)
            teacher = Teacher(self._reader, ReadingCache(folder.with_suffix(".jsonl")))
        resources.meter.charge(tuned.seconds)
        self.reader_seconds += tuned.seconds
        return teacher

    def training_state(self) -> dict[str, Any]:
        """Return the reader of the last round, file by file."""
        import torch

        files = sorted(path for path in self._reader.folder.iterdir()) if self._reader is not None else []
        read = {path.name: torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8) for path in files}
        return super().training_state() | {"round": self._round, "reader": read}

    def resume_training(self, state: Mapping[str, Any]) -> None:
        """Continue with the reader that `training_state` returned."""
        super().resume_training(state)
        assert self._reader is not None  # that of the first round, which was made again
        self._round = state["round"] - 1
        folder = self._new_folder()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, content in state["reader"].items():
            content.numpy().tofile(folder / name)
        before = self._reader
        self._reader = LocalReader(folder, before.name, before.device, before.precision)

    def save(self, folder: Path) -> None:
        """Write the reader of the last round as a plain model folder."""
        if self._reader is not None:
            shutil.copytree(self._reader.folder, folder / READER_FOLDER)

    def _lessons(self, reader: LocalReader, data: TrainingData, rankings: Ranking) -> list[Lesson]:
        prompt, lessons = Prompt(), []
        for query, text in data.train_queries.items():
            found = next((doc for doc, _ in rankings[query]), None)
            if data.answers.get(query) and found is not None:
                passage, _ = reader.cut(data.corpus.text_of(found), self.config.max_length)
                lessons.append(Lesson(prompt.messages(text, passage), data.answers[query][0]))
        return lessons

    def _new_folder(self) -> Path:
        """Return the path of this round's reader, in a folder that lives as long as the objective."""
        if self._readers is None:
            self._readers = TemporaryDirectory(dir=self.resources.scratch, ignore_cleanup_errors=True)
        self._round += 1
        return Path(self._readers.name) / f"round-{self._round}"
