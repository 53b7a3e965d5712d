"""Adapts a reader to the dataset of a run: training questions, the passages that the run finds, gold answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.answering.answer import Adapted, AnswerSettings, drawn, targets_of
from bench.answering.contexts import Assembler
from bench.config.execution import ExecutionSettings
from bench.data.dataset import Dataset, TrainingData
from bench.data.locate import load_dataset
from bench.errors import BenchError, ModelError, unknown
from bench.exporting.selection import latest_config
from bench.progress import Progress, silent
from bench.readers.adaptation import Adaptation, is_adaptation, parse_adaptation
from bench.readers.adapted import adapted_reader
from bench.readers.lessons import Lesson, Lessons
from bench.readers.local import LocalReader
from bench.readers.locate import reader_of
from bench.readers.prompts import Prompt
from bench.readers.tuning import DEV_QUESTIONS
from bench.records import CellResult
from bench.report.load import LoadedRun
from bench.running.environment import JobEnvironment, training_settings
from bench.running.scorer import TrainingRequest
from bench.running.scorer_process import scorer_process

GENERAL = "general"
"""The packaged dataset on whose documents forgetting is measured."""
GENERAL_TEXTS = 64


@dataclass(frozen=True)
class AdaptedReader:
    """A reader that was adapted to one dataset of a run, beside the reader that it was."""

    before: LocalReader
    after: LocalReader
    adapted: Adapted


@dataclass(frozen=True)
class Adapter:
    """Adapts readers to the datasets of a run.

    Args:
        run: a finished run, which holds the weights of its fits.
        execution: how its strategies are loaded.
        settings: how many passages a reader is shown. It is trained as it is asked.
        prompt: how it is asked.
        device: where readers run.
        precision: `auto`, `bf16` or `fp32`.
        progress: is called with `answering` and `tuning` and the numbers done and needed.
    """

    run: LoadedRun
    execution: ExecutionSettings
    settings: AnswerSettings
    prompt: Prompt
    device: str = "cpu"
    precision: str = "auto"
    progress: Progress = silent

    def readers(self, name: str) -> list[AdaptedReader]:
        """Return the adapted reader of each dataset with answers to training questions.

        Raises:
            BenchError: the expression makes no sense, or no dataset has such answers.
        """
        adaptation = parse_adaptation(name)
        found, reasons = [], []
        for target in targets_of(self.run):
            if (data := self._data(target, adaptation)).answers:
                found.append(self._adapted(adaptation, target, data))
            else:
                reasons.append(f"dataset {target[0]!r} has no gold answers to training questions: see docs/answers.md")
        if not found:
            raise BenchError("; ".join(reasons))
        return found

    def _adapted(self, adaptation: Adaptation, target: tuple[str, str], data: TrainingData) -> AdaptedReader:
        if is_adaptation(adaptation.base):
            before = self._adapted(parse_adaptation(adaptation.base), target, data).after
        else:
            named = reader_of(adaptation.base, self.device, self.precision)
            if not isinstance(named, LocalReader):
                raise ModelError(f"{adaptation}: {named.name} is behind an endpoint, so it cannot be trained here")
            before = named
        lessons = self._lessons(adaptation, before, target, data)
        after, record = adapted_reader(adaptation, before, lessons, general_texts(), progress=self.progress)
        return AdaptedReader(before, after, Adapted(target, record.model_dump()))

    def _data(self, target: tuple[str, str], adaptation: Adaptation) -> TrainingData:
        """Return the training and development questions of a dataset, which another process reads.

        The strategies of the run are loaded in this process, so it must not read judgements of test queries.
        """
        cell = self._cell(target, adaptation)
        request = TrainingRequest(
            datasets=tuple(latest_config(self.run.store).get("datasets", ())),
            fingerprint=cell.fingerprints.get("dataset", ""),
            refusal=f"no dataset that the run names has the content of {target[0]!r}. It is gone, or has changed",
            seed=adaptation.options.seed,
            examples=None,
            test_split=target[1],
            selection_floor=training_settings(self.run.fits[cell.fit].training).selection_floor,
            needs=("pairs", "answers"),
        )
        with scorer_process(request, self.run.store, self.execution.data_dir, self.execution.threads) as scorer:
            return scorer.training_data()

    def _lessons(
        self, adaptation: Adaptation, reader: LocalReader, target: tuple[str, str], data: TrainingData
    ) -> Lessons:
        """Return the questions with the passages that the retriever finds for them, and their gold answers."""
        train = {query: text for query, text in data.train_queries.items() if data.answers.get(query)}
        dev = {query: data.dev_queries[query] for query in data.dev_queries if data.answers.get(query)}
        dev = {query: dev[query] for query in drawn(dev, DEV_QUESTIONS)}
        with JobEnvironment(self.run.store, self.execution) as environment:
            retriever = environment.strategy(self._cell(target, adaptation).fit)
            ranking = retriever.search({**train, **dev}, retriever.index(data.corpus), self.settings.top)
            hits = {query: tuple(doc for doc, _ in ranking[query]) for query in (*train, *dev)}
        assemble = Assembler(reader, data.corpus, self.settings.context_tokens)

        def lessons(questions: Mapping[str, str]) -> tuple[Lesson, ...]:
            return tuple(
                Lesson(
                    self.prompt.messages(text, assemble(hits[query]).text), data.answers[query][0], data.answers[query]
                )
                for query, text in questions.items()
            )

        return Lessons(lessons(train), lessons(dev))

    def _cell(self, target: tuple[str, str], adaptation: Adaptation) -> CellResult:
        """Return the measured strategy whose passages the reader learns from: that of the lowest seed."""
        wanted = adaptation.options.retriever or self.run.baseline
        cells = [cell for cell in self.run.results if cell.usable and (cell.dataset, cell.split) == target]
        own = [cell for cell in cells if cell.strategy == wanted]
        if not own:
            raise unknown(f"{adaptation.kind}: retriever of this run", wanted, {cell.strategy for cell in cells})
        return min(own, key=lambda cell: cell.seed or 0)


def general_texts() -> list[str]:
    """Return passages on everyday subjects from the packaged dataset `general`, spread over its subjects."""
    dataset = load_dataset(GENERAL)
    assert isinstance(dataset, Dataset)
    texts = dataset.corpus.texts
    return [texts[place * len(texts) // GENERAL_TEXTS] for place in range(GENERAL_TEXTS)]
