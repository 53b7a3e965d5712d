"""An adapter bank: one base model and an adapter for each domain, which is swapped for each request."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.data.files import named_in_errors
from bench.encoders.base import BaseEncoder
from bench.encoders.plain import plain_base
from bench.errors import BenchError, NotApplicableError
from bench.exporting.folder import hub_name, is_asymmetric, peft_model
from bench.exporting.same_scores import check_same
from bench.exporting.selection import target_cell
from bench.models.base import without_peft_warnings
from bench.records import FitRecord
from bench.running.environment import JobEnvironment
from bench.store.provenance import processor

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

MODEL, ADAPTERS, CONTENTS, CARD = "model", "adapters", "bank.json", "README.md"
_ROUNDS = 50
_QUERY = "how long does the warranty last"


@dataclass
class BankAdapter:
    """One domain of a bank."""

    fit: str
    strategy: str
    dataset: str
    bytes: int
    difference: float
    """Largest difference between a score of the strategy and one of the bank under this adapter, in fp32."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Of the fit, on the test queries of its dataset."""


@dataclass
class Bank:
    """What `bank.json` holds."""

    model: str
    fingerprint: str
    """Of the base model. Only adapters of this model fit into the bank."""
    adapters: dict[str, BankAdapter] = field(default_factory=dict)
    swap_ms: float | None = None
    """Median milliseconds to change the adapter. None with a single one."""
    query_ms: float | None = None
    """Median milliseconds to encode a short query under an adapter, beside it."""
    machine: str = ""


def write_bank(environment: JobEnvironment, records: Sequence[FitRecord], folder: Path, force: bool = False) -> Bank:
    """Write a bank of fits, or add them to the bank in the folder. Each adapter is checked against its strategy.

    Args:
        environment: loads the fits.
        records: one fit for each dataset, all with PEFT adapters on one base model.
        folder: of the bank. An existing bank keeps its other domains.
        force: whether adapters of the same domains may be replaced.

    Raises:
        NotApplicableError: a fit keeps no single PEFT adapter, or scores differently in the bank.
        BenchError: the folder holds something else, another base model, or one of the domains already.
    """
    bank = _opened(folder)
    strategies = {record.fit: environment.strategy(record.fit) for record in records}
    for record in records:
        strategy, name = strategies[record.fit], domain(record.dataset)
        base = strategy.resources.model
        if is_asymmetric(strategy):
            raise NotApplicableError(f"--bank: {record.strategy} encodes queries and documents differently")
        peft_model(strategy, "--bank")
        bank = bank or Bank(hub_name(base.name), base.fingerprint)
        if bank.fingerprint != base.fingerprint:
            raise BenchError(f"{folder} holds adapters of {bank.model}, and {record.fit} is one of {base.name}")
        if name in bank.adapters and not force:
            raise BenchError(f"{folder} has an adapter for {name!r} already: --force replaces it")
    assert bank is not None
    with named_in_errors(folder):
        if not (folder / MODEL).is_dir():
            plain_base(strategies[records[0].fit].resources).save_pretrained(
                str(folder / MODEL), create_model_card=False
            )
        for record in records:
            _write_adapter(environment, record, strategies[record.fit], bank, folder)
        model = load_bank(folder, bank)
        try:
            for record in records:
                name = domain(record.dataset)
                model.set_adapter(name)
                bank.adapters[name].difference = check_same(strategies[record.fit], model)
            model.disable_adapters()
            check_same(BaseEncoder(None, strategies[records[0].fit].resources), model)
        except NotApplicableError:
            for record in records:
                shutil.rmtree(folder / ADAPTERS / domain(record.dataset))
            raise
        model.enable_adapters()
        bank.swap_ms, bank.query_ms = _latencies(model, list(bank.adapters))
        bank.machine = processor()
        (folder / CARD).write_text(_card(bank), encoding="utf-8")
        (folder / CONTENTS).write_text(json.dumps(asdict(bank), indent=1) + "\n", encoding="utf-8")
    return bank


def domain(dataset: str) -> str:
    """Return the name of a dataset's adapter. PEFT takes no dots in it."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", dataset).strip("-") or "domain"


def load_bank(folder: Path, bank: Bank) -> SentenceTransformer:
    """Return the base model with all adapters of a bank loaded, as the bank's card says."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder / MODEL), device="cpu")
    with without_peft_warnings():
        for name in bank.adapters:
            model.load_adapter(str(folder / ADAPTERS / name), adapter_name=name)
    return model.eval()


def _opened(folder: Path) -> Bank | None:
    """Return the bank in a folder; None where the folder is empty or not there."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    if (folder / MODEL).is_dir() and not (folder / CONTENTS).exists():
        return None  # of a bank whose first adapters were refused
    try:
        values: dict[str, Any] = json.loads((folder / CONTENTS).read_text(encoding="utf-8"))
        adapters = {name: BankAdapter(**each) for name, each in values.pop("adapters").items()}
        return Bank(**values, adapters=adapters)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BenchError(f"{folder} exists already and holds no bank: give another --out") from error


def _write_adapter(environment: JobEnvironment, record: FitRecord, strategy: Any, bank: Bank, folder: Path) -> None:
    name = domain(record.dataset)
    target = folder / ADAPTERS / name
    shutil.rmtree(target, ignore_errors=True)
    peft_model(strategy, "--bank").save_pretrained(str(target))
    cell = target_cell(environment.store, record)
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    metrics = dict(cell.metrics) if cell is not None else {}
    bank.adapters[name] = BankAdapter(record.fit, record.strategy, record.dataset, size, 0.0, metrics)


def _latencies(model: SentenceTransformer, names: Sequence[str]) -> tuple[float | None, float]:
    """Return the median milliseconds of a swap, and of encoding a query, in turn."""
    swaps, queries = [], []
    for number in range(_ROUNDS):
        start = time.perf_counter()
        model.set_adapter(names[number % len(names)])
        swapped = time.perf_counter()
        model.encode_query(_QUERY, show_progress_bar=False)
        swaps.append((swapped - start) * 1000)
        queries.append((time.perf_counter() - swapped) * 1000)
    return (median(swaps) if len(names) > 1 else None), median(queries)


def _card(bank: Bank) -> str:
    rows = [
        f"| `{name}` | `{each.strategy}` on `{each.dataset}` | {each.bytes / 1e6:.2f} MB | {_quality(each.metrics)} |"
        for name, each in bank.adapters.items()
    ]
    swap = f"{bank.swap_ms:.2f} ms" if bank.swap_ms is not None else "not measured: the bank holds one adapter"
    lines = [
        "# An adapter bank",
        "",
        f"One base model, `{bank.model}`, and an adapter for each domain, which is changed for each request.",
        "An index belongs to one adapter: encode the documents of a domain under its adapter.",
        "",
        "```python",
        "from sentence_transformers import SentenceTransformer",
        "",
        'model = SentenceTransformer("model")',
        f"for domain in {list(bank.adapters)!r}:",
        '    model.load_adapter(f"adapters/{domain}", adapter_name=domain)',
        "",
        f"model.set_adapter({next(iter(bank.adapters))!r})   # for each request of this domain",
        'vector = model.encode_query("...")',
        "model.disable_adapters()   # the base model",
        "```",
        "",
        "| domain | fit | size | nDCG@10 |",
        "|---|---|---:|---:|",
        *rows,
        "",
        f"- A swap takes {swap}. Encoding a short query after it takes {bank.query_ms:.1f} ms.",
        f"  These are medians of {_ROUNDS} on {bank.machine}.",
        "- Every adapter was checked: its scores are those of the strategy that was measured, in fp32.",
        "- It needs `peft`. A model has one adapter at a time: change it under a lock where threads share the model.",
        "",
    ]
    return "\n".join(lines)


def _quality(metrics: dict[str, float]) -> str:
    score = metrics.get("ndcg@10")
    return f"{score:.3f}" if score is not None else "-"
