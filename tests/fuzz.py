"""Fuzzing of everything that reads input. Each mutated file or odd text gives a result or a `BenchError`.

    python -m tests.fuzz --inputs 500000

`tests/test_fuzz.py` runs the short form. Inputs are drawn by seed, so that the same command gives the same inputs.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import logging
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
from hypothesis import strategies as st

from bench.errors import BenchError, unknown

SECONDS = 10.0
"""An input that takes longer counts as a hang."""
BATCH = 2000
"""Inputs of one target between two seeds."""

NASTY = [
    "\ufeff", "\x00", "\ud83d", "\u202e", "\u00b2", "\u0661", "\u2028", "\r", "\n", "\t", '"', "'", "\\", "\\\"",
    ",", ";", "|", "{", "}", "[", "]", "(", ")", "null", "NaN", "Infinity", "-0", "1e999", "1e-999", "0.5", "true",
    "None", "~", "~nobody/x", "9" * 400, "9" * 4400, "0x" + "f" * 4000, "[" * 3000, "{\"a\":" * 2000, "(" * 200,
    "!!python/object:os.system x", "!!bool maybe", "!!int ''", "!!timestamp x", "!!binary ***", "&a [*a]", "*b",
    "<<: *a", "2026-02-31", "---\n", "? [a]\n: b", "../../x", "/etc/passwd", "C:\\x", "sep=;\n", "\u0301",
    "\U000e0041", "\ud800\udc00", "A" * 5000, " " * 3000, "=", "?a=&b", "%", "%ff", "#", "@", "hub:", "run:",
    "openai:", "lora(r=", "ndcg@", "q0\tQ0\td0\t1\tnan\te\n", "query-id\tcorpus-id\tscore\n",
]  # fmt: skip
"""Pieces that parsers stumble over."""


_WORD = re.compile(rb"[\w.-]+")


class HangError(Exception):
    """An input took too long."""


@dataclass(frozen=True)
class Target:
    """One reader: valid inputs to mutate, and a function that reads an input from a folder of its own."""

    name: str
    seeds: tuple[bytes, ...]
    read: Callable[[bytes, Path], object]


@dataclass
class Outcome:
    """What became of the inputs of one target."""

    inputs: int = 0
    refused: int = 0
    faults: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    """Where the exception was raised -> its text, and the first input that raised it."""


def made(seeds: tuple[bytes, ...], number: int) -> bytes:
    """Return an input drawn by a number: mostly a mutated valid one, else nasty pieces, or any bytes."""
    draw = random.Random(number)
    kind = draw.random()
    if kind < 0.9:
        return mutated(draw.choice(seeds), draw)
    if kind < 0.97:
        return b"".join(_piece(draw) for _ in range(draw.randrange(8)))
    return draw.randbytes(draw.randrange(200))


def mutated(seed: bytes, draw: random.Random) -> bytes:
    """Return a valid input after one to four changes. Half of them exchange a word or number for another one."""
    content = bytearray(seed)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        at = draw.randrange(len(content) + 1)
        end = min(len(content), at + draw.choice((1, 1, 4, 16, 200)))
        words = list(_WORD.finditer(content))
        match draw.randrange(12):
            case 0 if content:
                content[min(at, len(content) - 1)] ^= 1 << draw.randrange(8)
            case 1:
                del content[at:end]
            case 2:
                content[at:at] = content[at:end] * draw.choice((1, 2, 50))
            case 3:
                del content[at:]
            case 4:
                content[at:end] = draw.randbytes(end - at)
            case 5:
                content[at:at] = _piece(draw)
            case _ if words:
                word = draw.choice(words)
                content[word.start() : word.end()] = draw.choice((draw.choice(words)[0], _piece(draw), _value(draw)))
    return bytes(content)


def _piece(draw: random.Random) -> bytes:
    return draw.choice(NASTY).encode("utf-8", "surrogatepass")


def _value(draw: random.Random) -> bytes:
    return draw.choice(
        ("0", "1", "-1", "0.5", "1.0", "1e3", "null", "true", "a", "", "é", "水", str(draw.getrandbits(40)))
    ).encode()


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise a `HangError` where a block takes longer."""

    def late(*_: object) -> None:
        raise HangError(f"more than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def fuzz(target: Target, inputs: int, folder: Path, first_seed: int = 0) -> Outcome:
    """Read inputs of a target and return what became of them."""
    outcome = Outcome()

    def attempt(content: bytes) -> None:
        outcome.inputs += 1
        place = folder / "input"
        place.mkdir()
        try:
            with time_limit(SECONDS):
                target.read(content, place)
        except BenchError as error:
            str(error).encode("utf-8", "replace")
            outcome.refused += 1
        except (Exception, HangError) as error:
            last = traceback.extract_tb(error.__traceback__)
            own = [frame for frame in last if f"{os.sep}bench{os.sep}" in frame.filename] or last
            where = f"{type(error).__name__} at {Path(own[-1].filename).name}:{own[-1].lineno}"
            outcome.faults.setdefault(where, (str(error)[:200], content))
        finally:
            shutil.rmtree(place, ignore_errors=True)

    seed = first_seed
    while outcome.inputs < inputs:
        count = min(BATCH, inputs - outcome.inputs)
        settings = hypothesis.settings(
            max_examples=count, database=None, deadline=None, phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )  # fmt: skip
        numbers = st.integers(0, 2**64 - 1)
        hypothesis.seed(seed)(settings(hypothesis.given(numbers)(lambda number: attempt(made(target.seeds, number)))))()
        seed += 1
    return outcome


# --- the readers ---------------------------------------------------------------------------------------------------


def _beir(content: bytes, folder: Path) -> object:
    """Read a dataset. The input is one of its three files."""
    from bench.data.dataset import DatasetInfo

    names = ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv")
    chosen = names[2 if b"query-id" in content[:20] else 1 if b'"q' in content else 0]
    (folder / "qrels").mkdir()
    for name, valid in zip(names, (CORPUS, QUERIES, QRELS), strict=True):
        (folder / name).write_bytes(content if name == chosen else valid)
    from bench.data.beir import read_beir

    return read_beir(folder, DatasetInfo("fuzzed")).fingerprint


def _answers(content: bytes, folder: Path) -> object:
    """Read the gold answers of a dataset's queries."""
    from bench.data.answers import read_answers

    (folder / "answers.jsonl").write_bytes(content)
    answers = read_answers(folder / "answers.jsonl", {"q1": "", "q2": ""}, [])
    assert all(text.strip() for texts in answers.values() for text in texts)
    return answers


def _prompt(content: bytes, folder: Path) -> object:
    from bench.readers.prompts import read_prompt

    (folder / "prompt.toml").write_bytes(content)
    return read_prompt(folder / "prompt.toml").messages("why?", "because")


_NEW = {"key": "new", "text": "tea", "prompt_tokens": 3, "tokens": 1, "seconds": 0.5}


def _readings(content: bytes, folder: Path) -> object:
    """Read the readings of a run, whatever became of their file, and add one."""
    from bench.store.answers import ReadingCache
    from bench.store.store import Store

    (folder / "answers").mkdir()
    (folder / "answers" / "readings--fuzzed.jsonl").write_bytes(content)
    ReadingCache.of_run(Store(folder), "fuzzed").add([_NEW])
    assert ReadingCache.of_run(Store(folder), "fuzzed")["new"]["text"] == "tea"
    return None


def _similarity(content: bytes, folder: Path) -> object:
    from bench.data.dataset import DatasetInfo
    from bench.data.similarity import read_similarity

    (folder / "test.jsonl").write_bytes(content)
    return read_similarity(folder, DatasetInfo("fuzzed"))


def _table(suffix: str) -> Callable[[bytes, Path], object]:
    def read(content: bytes, folder: Path) -> object:
        """Import a table, and write the dataset that it makes."""
        from bench.data.dataset import DatasetInfo
        from bench.data.importing import Builder, Columns
        from bench.data.partition import assemble
        from bench.data.tables import read_table
        from bench.data.write import write_dataset

        path = folder / f"table.{suffix}"
        path.write_bytes(content)
        table, builder = read_table(path), Builder()
        builder.read_pairs(table, Columns.of(table, {}))
        write_dataset(assemble(DatasetInfo("fuzzed"), builder, 0), folder / "out")
        return None

    return read


def _documents(content: bytes, folder: Path) -> object:
    from bench.data.chunks import read_folder

    (folder / f"a.{('md', 'rst', 'txt')[len(content) % 3]}").write_bytes(content)
    return read_folder(folder, 20)


def _trec(content: bytes, folder: Path) -> object:
    from bench.retrieval.ranking import read_trec

    (folder / "a.trec").write_bytes(content)
    return read_trec(folder / "a.trec", [])


def _lines(content: bytes, folder: Path) -> object:
    from bench.data.lines import read_objects

    (folder / "a.jsonl.gz").write_bytes(content)
    return list(read_objects(folder / "a.jsonl.gz"))


def _catalogue(content: bytes, folder: Path) -> object:
    from bench.data.catalogue import read_entry

    (folder / "dataset.toml").write_bytes(content)
    return read_entry(folder / "dataset.toml", "fuzzed")


def _settings(content: bytes, folder: Path) -> object:
    from bench.config.schema import from_mapping, load

    (folder / "run.yaml").write_bytes(content)
    return from_mapping(load(folder / "run.yaml")).to_dict()


def _values(content: bytes, folder: Path) -> object:
    """Read settings as the command line gives them: texts."""
    from bench.budget import SHAPES, STOPS, parse_amount
    from bench.config.schema import RunConfig, from_mapping

    text = content.decode("utf-8", "surrogateescape")
    names = [*RunConfig.model_fields]
    name = names[len(content) % len(names)]
    with suppress(BenchError):
        from_mapping({name: text})
    return parse_amount(text, (*SHAPES, *STOPS, "timeout", "min_gain")[len(content) % 9])


def _expression(content: bytes, folder: Path) -> object:
    from bench.expression import parse_list

    expressions = parse_list(content.decode("utf-8", "surrogateescape"))
    for expression in expressions:
        again = parse_list(str(expression))
        assert again == [expression], f"{expression} is read as {again}"
    return expressions


def _names(content: bytes, folder: Path) -> object:
    """Read the names of datasets, measures, devices and endpoints."""
    from bench.data.locate import DatasetName, load_dataset
    from bench.evaluation.measures import parse_measure
    from bench.models.device import check_name
    from bench.models.endpoint import Endpoint

    text = content.decode("utf-8", "surrogateescape")
    for read in (DatasetName.parse, parse_measure, check_name, Endpoint.parse):
        with suppress(BenchError):
            read(text)
    name = DatasetName.parse(text).name
    known = name in ("hub", "") or re.fullmatch(r"[a-z0-9-]+", name)  # which may be downloaded
    return None if known else load_dataset(text, folder)


def _record(content: bytes, folder: Path) -> object:
    from bench.records import CellResult, FitRecord
    from bench.store.files import read, read_json

    for name, kind in (("fit.json", FitRecord), ("result.json", CellResult)):
        (folder / name).write_bytes(content)
        with suppress(BenchError):
            read(folder / name, kind)  # type: ignore[type-var]
    values = read_json(folder / "fit.json")
    values.pop("digest", None)
    return FitRecord.from_dict({**values, "schema_version": 1})


def _archive(content: bytes, folder: Path) -> object:
    from bench.data.download import _unpack

    (folder / "a.zip").write_bytes(content)
    (folder / "out").mkdir()
    _unpack(folder / "a.zip", folder / "out", "toy")
    outside = [path for path in folder.rglob("*") if path.name not in ("a.zip", "out") and "out" not in path.parts]
    assert not outside, f"written outside of the folder: {outside}"
    return None


def _segment(content: bytes, folder: Path) -> object:
    """Read a segment of the vector cache: a vector that it gives is one that was written."""
    from bench.retrieval.cache import VectorCache

    space = VectorCache(folder).space("fuzzed", note=lambda text: None)
    space.folder.mkdir(parents=True, exist_ok=True)
    (space.folder / f"a{SUFFIX}").write_bytes(content)
    space.refresh()
    out = np.zeros((len(KEYS), 4), dtype=np.float32)
    missing, _ = space.get(KEYS, out)
    for position in set(range(len(KEYS))) - set(missing):
        assert np.array_equal(out[position], VECTORS[position]), "another vector than the one that was written"
    return None


def _answer(content: bytes, folder: Path) -> object:
    from bench.models.chat_endpoint import ChatEndpoint
    from bench.models.endpoint import Endpoint

    endpoint = Endpoint("http://127.0.0.1:1/v1", "fuzzed")
    endpoint._refusal(400, content.decode("utf-8", "replace"))
    if content[:12].startswith(b'{"choices"'):
        return ChatEndpoint("http://127.0.0.1:1/v1", "fuzzed")._completion(content)
    vectors = endpoint._vectors(content, ["tea", "milk"])
    assert vectors.shape[0] == 2 and np.isfinite(vectors).all()
    return None


def _model(content: bytes, folder: Path) -> object:
    """Read what a model's folder says about loading it."""
    from bench.models.base import BaseModel
    from bench.models.checks import model_notes

    files = ("modules.json", "config.json", "config_sentence_transformers.json", "tokenizer_config.json")
    marks = (b'"idx', b'"arch', b'"simil', b'"pad')
    chosen = next((file for file, mark in zip(files, marks, strict=True) if mark in content), files[len(content) % 4])
    for name, valid in zip(files, MODEL, strict=True):
        (folder / name).write_bytes(content if name == chosen else valid)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text("{}")
    return model_notes(BaseModel("fuzzed", folder))


def _hub(content: bytes, folder: Path) -> object:
    """Assemble a dataset of rows as the hub gives them."""
    from bench.data.hub import _assemble

    try:
        rows = [json.loads(line) for line in content.decode().splitlines() if line]
    except (ValueError, RecursionError) as error:
        raise BenchError("no rows") from error
    rows = [row for row in rows if isinstance(row, dict)]
    return _assemble("hub:fuzzed", "fuzzed", rows, rows, {"test": rows}).fingerprint


# --- valid inputs --------------------------------------------------------------------------------------------------

CORPUS = b'{"_id": "d1", "title": "Tea", "text": "Green tea."}\n{"_id": "d2", "title": "", "text": "Milk \\u00e9."}\n'
QUERIES = b'{"_id": "q1", "text": "what is tea", "metadata": {"group": "a"}}\n{"_id": "q2", "text": "milk"}\n'
QRELS = b"query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t2\n"
_ROWS: list[dict[str, Any]] = [
    {"question": f"how is {thing} made", "answer": f"{thing} is made of things", "label": 1, "group": "g",
     "title": thing, "negative_1": f"no {thing}", "split": split}
    for thing, split in (("tea", "train"), ("milk", "dev"), ("bread", "test"), ("salt", "train"))
]  # fmt: skip
_PLAIN_ROWS = [
    {"query": f"what is thing {n} of {n * n}", "passage": f"it is {n}", "score": n % 2} for n in range(1, 20)
]
_LIST_ROWS = [
    {"queries": ["who", f"where {n}"], "positive": [{"title": "t", "text": f"text {n}"}], "score": 0.0 + n}
    for n in range(1, 5)
]
KEYS = [bytes([number]) * 16 for number in range(3)]
VECTORS = np.arange(12, dtype=np.float32).reshape(3, 4)
SUFFIX = ""
MODEL = (
    b'[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}, '
    b'{"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]',
    b'{"architectures": ["BertModel"], "hidden_size": 32, "model_type": "bert"}',
    b'{"similarity_fn_name": "cosine", "prompts": {"query": "q: "}}',
    b'{"pad_token": "[PAD]"}',
)
_SETTINGS = (
    b"strategies: [frozen, 'lora(r=4)']\ndatasets: pydocs\nbudget: {steps: 150, examples: [50, 200]}\nseeds: [0, 1]\n"
    b"set: {lora.r: 16, train: {batch_size: 8}}\nprimary: ndcg@10\ndevice: cpu\n",
    b"base: &a {steps: 5}\nbudget: *a\ntimeout: 10m\nmeasures: [ndcg@10, RBP(p=0.8)]\n",
    b'{"schema_version": 2, "invocations": [{"config": {"strategies": ["bm25"], "budget": {"steps": 5}}}]}',
)


def _csv(delimiter: str, rows: list[dict[str, Any]] = _ROWS) -> bytes:
    import csv

    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode()


def _jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _parquet(compression: str) -> bytes:
    import pyarrow
    import pyarrow.parquet

    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(_ROWS), stream, compression=compression)
    return stream.getvalue()


def _zip(method: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in (
            ("toy/", b""),
            ("toy/corpus.jsonl", CORPUS),
            ("toy/./queries.jsonl", QUERIES),
            (".", b"x"),
        ):
            archive.writestr(name, content)
    return stream.getvalue()


def _fit_record() -> bytes:
    from bench.records import FitRecord

    values: dict[str, Any] = {
        "fit": "lora--toy--0123456789", "strategy": "lora", "dataset": "toy", "model": "tiny", "seed": 0,
        "status": "ok", "budget": {"limits": {"steps": 5}}, "report": {"steps": 5, "notes": ["a"]}, "schema_version": 1,
    }  # fmt: skip
    with suppress(BenchError):
        return json.dumps(FitRecord.from_dict(values).to_dict(), indent=1).encode()
    return json.dumps(values).encode()


def _segment_seed() -> bytes:
    from bench.retrieval.cache import _segment_bytes

    return _segment_bytes(KEYS, VECTORS, 0.5)


def targets() -> list[Target]:
    """Return all readers with their valid inputs."""
    global SUFFIX
    from bench.retrieval import cache

    SUFFIX = cache.SUFFIX
    answer = {"object": "list", "data": [{"index": n, "embedding": [0.1, 0.2, -0.3]} for n in (0, 1)]}
    squad = {
        "data": [
            {"title": "t", "paragraphs": [{"context": "c" * 30, "qas": [{"question": f"q{n}"} for n in range(4)]}]}
        ]
    }
    llama = {
        "queries": {"1": "a", "2": "b"},
        "corpus": {"x": "tea", "y": "milk"},
        "relevant_docs": {"1": ["x"], "2": ["y"]},
    }
    hub_rows = [{"_id": "a", "text": "x", "query-id": "a", "corpus-id": "a", "score": 1.0}]
    hub = _jsonl(hub_rows * 2)
    text = (
        "---\ntitle: A\n---\n# One\n\nSome *text* [link](x). More.\n\n## Two\n```\ncode\n```\nEnd\n===\n水壶。".encode()
    )
    toml = (
        b'kind = "retrieval"\ntitle = "T"\nrole = "target"\nsplits = ["test"]\ndocuments = 2\ndrop_same_id = false\n'
        b'[queries]\n"test" = 2\n[archive]\nurls = ["http://x/y.zip"]\nfolder = "toy"\nbytes = 5\n'
    )
    expressions = (
        b"lora(r=16), hybrid(lora, method=rrf)", b"full(objective=listwise(teacher=rerank(frozen)))",
        b"run:'a file.trec', run(file=\"b\"), soup(a|b)",
    )  # fmt: skip
    names = (
        b"scifact?max_length=128",
        b"hub:a/b?config=en",
        b"./data",
        b"ndcg@10",
        b"openai:http://h:1/v1?tokens=5#m",
        b"cuda:1",
    )
    amounts = (b"150", b"2k,8GiB", b"1.5h", b"0.5%", b"1e15", b"lora.r=16", b"frozen,lora(r=4)")
    trec = b"q1\tQ0\td1\t1\t2.5\ttag\nq1 Q0 d2 2 1.5 tag\n\nq2 Q0 d1 1 -1 tag\n"
    answers = b'{"query-id": "q1", "answers": ["tea", "a leaf"]}\n{"query-id": "q2", "answers": []}\n'
    answers_of_squad = b'{"query-id": "q1", "answers": [{"text": "tea", "answer_start": 3}]}\n'
    chat = {"choices": [{"message": {"content": "tea"}}], "usage": {"prompt_tokens": 5, "completion_tokens": 1}}
    prompt = (
        b'system = "Be brief."\nwith_context = "{context} {question}"\nwithout_context = "{question}"\n'
        b'[[examples]]\nquestion = "q"\nanswer = "a"\ncontext = "c"\n'
    )
    readings = (
        b'{"key": "a", "text": "tea", "prompt_tokens": 3, "tokens": 1, "seconds": 0.5}\n'
        b'{"key": "b", "log_likelihood": -0.5, "prompt_tokens": 3, "tokens": 1, "seconds": 0.5}\n'
    )
    pairs = b'{"s1": "a", "s2": "b", "score": 3.5}\n{"s1": "c", "s2": "d", "score": 1}\n'
    return [
        Target("dataset folder", (CORPUS, QUERIES, QRELS), _beir),
        Target("answers", (answers, answers_of_squad), _answers),
        Target("prompt", (prompt,), _prompt),
        Target("readings", (readings,), _readings),
        Target("similarity file", (pairs,), _similarity),
        Target(
            "CSV",
            (_csv(","), _csv(";"), _csv(",", _PLAIN_ROWS), _csv(",", _PLAIN_ROWS).replace(b"it", b'"a ""b"""')),
            _table("csv"),
        ),
        Target("TSV", (_csv("\t"), _csv("\t", _PLAIN_ROWS)), _table("tsv")),
        Target("JSON Lines", (_jsonl(_ROWS), _jsonl(_LIST_ROWS), _jsonl(_PLAIN_ROWS)), _table("jsonl")),
        Target("JSON", tuple(json.dumps(each).encode() for each in (_ROWS, _PLAIN_ROWS, squad, llama)), _table("json")),
        Target("Parquet", (_parquet("none"), _parquet("snappy")), _table("parquet")),
        Target("documents", (text,), _documents),
        Target("TREC run", (trec, gzip.compress(trec)), _trec),
        Target("gzipped lines", (gzip.compress(CORPUS),), _lines),
        Target("dataset.toml", (toml,), _catalogue),
        Target("hub rows", (hub,), _hub),
        Target("settings file", _SETTINGS, _settings),
        Target("settings", amounts, _values),
        Target("expression", expressions, _expression),
        Target("names", names, _names),
        Target("record", (_fit_record(),), _record),
        Target("archive", (_zip(zipfile.ZIP_STORED), _zip(zipfile.ZIP_DEFLATED), _zip(zipfile.ZIP_BZIP2)), _archive),
        Target("cache segment", (_segment_seed(),), _segment),
        Target("endpoint answer", (json.dumps(answer).encode(), json.dumps(chat).encode()), _answer),
        Target("model folder", MODEL, _model),
    ]


def run_all(inputs: int, seed: int = 0, only: str = "", show: Callable[[str], object] = lambda line: None) -> list[str]:
    """Fuzz all targets with about this number of inputs together, and return a line for each fault.

    Raises:
        BenchError: no target has a name with `only` in it.
    """
    names = [target.name for target in targets()]
    chosen = [target for target in targets() if only.casefold() in target.name.casefold()]
    if not chosen:
        raise unknown("reader", only, names)
    logging.disable(logging.WARNING)
    found: list[str] = []
    memory = Path("/dev/shm")
    place = str(memory) if memory.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="adaptbench-fuzz-", dir=place) as folder:
        before, cwd = os.environ.get("BENCH_CACHE"), Path.cwd()
        os.environ["BENCH_CACHE"] = folder
        os.chdir(folder)
        try:
            for target in chosen:
                start = time.perf_counter()
                outcome = fuzz(target, -(-inputs // len(chosen)), Path(folder), seed)
                rate = outcome.inputs / (time.perf_counter() - start)
                show(f"{target.name}: {outcome.inputs} inputs, {outcome.refused} refused, {rate:.0f}/s")
                for where, (text, content) in outcome.faults.items():
                    found.append(f"{target.name}: {where}: {text}: {content[:300]!r}")
                    show(f"  FAULT {found[-1]}")
        finally:
            os.chdir(cwd)
            logging.disable(logging.NOTSET)
            if before is None:
                os.environ.pop("BENCH_CACHE", None)
            else:
                os.environ["BENCH_CACHE"] = before
    return found


def main() -> int:
    """Fuzz, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10_000, help="number of inputs over all readers")
    parser.add_argument("--seed", type=int, default=0, help="draws the inputs")
    parser.add_argument("--only", default="", help="a part of the names of the readers to fuzz")
    arguments = parser.parse_args()
    start = time.perf_counter()
    found = run_all(arguments.inputs, arguments.seed, arguments.only, lambda line: sys.stdout.write(line + "\n"))
    seconds = time.perf_counter() - start
    sys.stdout.write(f"{arguments.inputs} inputs in {seconds:.0f} s: {len(found)} faults\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
