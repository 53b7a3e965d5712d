"""No process that runs a strategy's code holds a judgement of a test query: not on its heap, not in a module."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.config.execution import ExecutionSettings
from bench.config.schema import RunConfig
from bench.data.dataset import Corpus, Dataset
from bench.data.locate import load_dataset
from bench.data.stored import Joined, StoredTexts
from bench.errors import BenchError
from bench.running.executors.local import LocalExecutor
from bench.running.run import Run
from bench.running.scorer import TrainingRequest
from bench.running.scorer_process import scorer_process
from bench.store.store import Store
from tests.toy_runs import TOY, Silent

SPY = (
    TOY
    + r'''

import gc
import hashlib
import sys


def digest(query, doc):
    return hashlib.sha256(f"{query} {doc}".encode("utf-8", "surrogatepass")).hexdigest()


class Spy(Toy):
    """Looks for judgements of test queries wherever a program can look in its own process."""

    name = "spy"

    @dataclass(frozen=True)
    class Config(Toy.Config):
        out: str = ""
        test: str = ""
        at_fit: bool = True

    def look(self, where):
        wanted = set(json.loads(Path(self.config.test).read_text()))  # digests, so that it cannot find its own list
        found, seen = [], set()
        waiting = [*gc.get_objects(), *(vars(module) for module in list(sys.modules.values()))]
        while waiting:
            each = waiting.pop()
            if id(each) in seen:
                continue
            seen.add(id(each))
            pairs = []
            if issubclass(type(each), dict):  # not isinstance: a lazy object would load what it stands for
                for query, docs in list(dict.items(each)):
                    if type(query) is str and type(docs) in (dict, set, frozenset, list, tuple):
                        pairs += [(query, doc) for doc in docs if type(doc) is str]
            elif type(each) in (list, tuple) and len(each) in (2, 3) and all(type(part) is str for part in each[:2]):
                pairs.append(each[:2])
            elif type(each) in (str, bytes) and (each.count("\t") if type(each) is str else each.count(b"\t")):
                text = each if type(each) is str else each.decode("utf-8", "replace")
                pairs += [line.split("\t")[:2] for line in text.splitlines() if line.count("\t") > 1]
            found += [repr(pair) for pair in pairs if digest(*pair) in wanted]
            waiting.extend(gc.get_referents(each))
        with Path(self.config.out).open("a") as stream:
            report = {"where": where, "pid": os.getpid(), "objects": len(seen), "found": found[:5]}
            stream.write(json.dumps(report) + "\n")

    def fit(self, data, budget, seed):
        if self.config.at_fit:
            self.look("fit")
        return super().fit(data, budget, seed)

    def search(self, queries, index, top_k):
        if len(queries) > 1:  # not in each measurement of latency
            self.look("search")
        return super().search(queries, index, top_k)
'''
)


@pytest.fixture
def spying(toy_config: Callable[..., RunConfig], toy_file: Path, beir_folder: Path, tmp_path: Path) -> RunConfig:
    """A run of the spy, with a probe and with what it looks for."""
    toy_file.write_text(SPY, encoding="utf-8")
    dataset = load_dataset(str(beir_folder))
    assert isinstance(dataset, Dataset)
    pairs = [f"{query} {doc}" for query, docs in dataset.qrels("test").items() for doc in docs]
    digests = [hashlib.sha256(pair.encode()).hexdigest() for pair in pairs]
    (tmp_path / "test.json").write_text(json.dumps(digests))
    options = [f"spy.out={tmp_path / 'seen.jsonl'}", f"spy.test={tmp_path / 'test.json'}"]
    return toy_config(strategies="spy", baseline="spy", set=options)


def test_a_strategy_finds_no_test_judgement_in_its_process(spying: RunConfig, tmp_path: Path) -> None:
    result = Run.prepare(spying).execute(Silent())

    assert result.statuses == {"ok": 1}, result.failed
    looks = [json.loads(line) for line in (tmp_path / "seen.jsonl").read_text().splitlines()]
    assert {look["where"] for look in looks} == {"fit", "search"}
    assert len({look["pid"] for look in looks}) == 2
    assert all(look["objects"] > 10_000 for look in looks), "it must have looked at a whole process"
    assert [look["found"] for look in looks if look["found"]] == []


def test_the_search_finds_judgements_where_there_are_some(
    spying: RunConfig, run_inline: Callable[[RunConfig], object], tmp_path: Path
) -> None:
    """In one process with its scorer, the same strategy does find them: the test above can fail."""
    run_inline(spying.replace(set={**spying.set, "spy.at_fit": False}))

    looks = [json.loads(line) for line in (tmp_path / "seen.jsonl").read_text().splitlines()]
    assert any(look["found"] for look in looks if look["where"] == "search")


def test_processes_of_strategies_are_never_forks_of_the_planning_process(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="judgements that planning has read"):
        LocalExecutor(Store(tmp_path), ExecutionSettings(device="cpu"), start_method="fork")


def test_a_scorer_hands_over_its_own_jobs_data_alone(beir_folder: Path, tmp_path: Path) -> None:
    """The job decides the test split; a request cannot name another."""
    request = TrainingRequest((str(beir_folder),), "", "", seed=0, examples=None, test_split="test", selection_floor=1)
    dataset = load_dataset(str(beir_folder))
    assert isinstance(dataset, Dataset)

    with scorer_process(request, Store(tmp_path)) as scorer:
        data = scorer.training_data()
        with pytest.raises(BenchError, match="serves a TrainingRequest"):
            scorer.unjudged()
        with pytest.raises(BenchError, match="no plain value"):
            scorer.put_cell(Path("code of a strategy could be here"), {})

    assert not set(dataset.qrels("test")) & {*data.train_queries, *data.dev_queries}


def test_texts_that_lie_in_a_file_reach_the_job_as_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large corpus is held once: the job reads the file that the scorer has open."""
    from multiprocessing import get_context

    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    texts = StoredTexts()
    for number in range(50):
        texts.append(f"text {number}")
    empty = StoredTexts()
    for _ in range(50):
        empty.append("")
    ours, theirs = get_context("spawn").Pipe()
    corpus = Corpus([str(number) for number in range(50)], Joined(empty, texts), empty, texts)
    ours.send(corpus)

    received = theirs.recv()

    assert list(received.texts) == list(corpus.texts) and received.ids == corpus.ids
    assert received.bodies is received.texts.bodies, "one file, not one for each use"
    assert received.bodies._file.fileno() != texts._file.fileno()
