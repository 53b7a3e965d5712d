"""Write a fitted strategy as a folder that other programs load, and pack it for hosting."""

from __future__ import annotations

import gzip
import shutil
import tarfile
from dataclasses import dataclass, field
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.encoders.plain import check_same
from bench.errors import BenchError, NotApplicableError
from bench.exporting.card import Subject, model_card
from bench.exporting.choice import target_cell
from bench.models.architectures import set_transformer, transformer_of
from bench.models.base import without_peft_warnings

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from bench.exporting.refit import Refit
    from bench.records import CellResult, FitRecord
    from bench.running.environment import JobEnvironment
    from bench.store.store import Store
    from bench.strategy.base import Strategy

ARCHIVE = "model.tar.gz"
CARD = "README.md"
_SERVED_WITH = ("sentence-transformers", "transformers")


@dataclass(frozen=True)
class Order:
    """What is to be written."""

    folder: Path
    separate: bool = False
    """The attachment alone, as a PEFT adapter."""
    onnx: bool = False
    archive: Path | None = None
    final_refit: bool = False
    force: bool = False
    """Whether what lies there may be replaced."""


@dataclass
class Exported:
    """What was written."""

    fit: str
    folder: Path
    form: str
    difference: float
    """Largest difference between a score of the strategy and one of the exported model, in fp32."""
    files: list[str] = field(default_factory=list)
    archive: Path | None = None
    refit: bool = False


def export(environment: JobEnvironment, record: FitRecord, order: Order) -> Exported:
    """Write a fit as a sentence-transformers folder with its model card, checked to score as the strategy does.

    Raises:
        NotApplicableError: the strategy cannot be said in such a folder; says why. Nothing is left behind.
        BenchError: something lies there already, or an optional package is missing.
    """
    if order.onnx:
        from bench.exporting.onnx import require_onnx

        require_onnx()
    if order.separate and (order.onnx or order.archive):
        raise BenchError("--separate writes an adapter, which goes with neither --onnx nor --archive: leave one out")
    for path in (order.folder, order.archive):
        if path is not None and path.exists() and (path.is_file() or any(path.iterdir())) and not order.force:
            raise BenchError(f"{path} is there already: take another --out, or --force to replace it")
    again = None
    if order.final_refit:
        from bench.exporting.refit import refit

        again = refit(environment, record)
    strategy = again.strategy if again else environment.strategy(record.fit)
    model = strategy.to_sentence_transformer()
    difference = check_same(strategy, model)
    if order.folder.exists():
        shutil.rmtree(order.folder)
    order.folder.mkdir(parents=True)
    try:
        if order.separate:
            difference = _save_adapter(strategy, order.folder)
        else:
            model.save_pretrained(str(order.folder), create_model_card=False)
        if order.onnx:
            from bench.exporting.onnx import write_onnx

            write_onnx(model, order.folder)
        subject = _subject(environment.store, record, strategy, order, again)
        (order.folder / CARD).write_text(model_card(subject, environment.store), encoding="utf-8")
    except NotApplicableError:
        shutil.rmtree(order.folder)
        raise
    if order.archive is not None:
        write_archive(order.folder, order.archive)
    files = sorted(path.relative_to(order.folder).as_posix() for path in order.folder.rglob("*") if path.is_file())
    form = "adapter" if order.separate else "merged"
    return Exported(record.fit, order.folder, form, difference, files, order.archive, again is not None)


def _save_adapter(strategy: Strategy, folder: Path) -> float:
    """Write a PEFT adapter, load it onto a fresh base model, and return how much that scores differently."""
    from peft import PeftModel

    own = getattr(strategy, "model", None)
    wrapped = transformer_of(own) if own is not None else None
    if not isinstance(wrapped, PeftModel):
        raise NotApplicableError(f"--separate: {strategy.name} keeps no PEFT adapter beside the model's weights")
    for config in wrapped.peft_config.values():
        config.base_model_name_or_path = hub_name(strategy.resources.model.name)
    wrapped.save_pretrained(str(folder))
    adapted = strategy.resources.model.load("cpu")
    with without_peft_warnings():
        set_transformer(adapted, PeftModel.from_pretrained(transformer_of(adapted), str(folder)).eval())
    if strategy.resources.max_length is not None:
        adapted.max_seq_length = min(strategy.resources.max_length, adapted.max_seq_length)
    if _asymmetric(strategy):
        from sentence_transformers.base.modules import Router

        documents = strategy.resources.model.load("cpu")
        documents.max_seq_length = adapted.max_seq_length
        prompts, similarity = adapted.prompts, adapted.similarity_fn_name
        adapted = _routed(Router.for_query_document(list(adapted), list(documents)), prompts, similarity)
    return check_same(strategy, adapted)


def _routed(router: Any, prompts: dict[str, str], similarity: str) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(modules=[router], device="cpu", prompts=prompts, similarity_fn_name=similarity).eval()


def _asymmetric(strategy: Strategy) -> bool:
    """Whether documents keep the base model's vectors."""
    return strategy.trains != "none" and strategy.reindex == "none"


def hub_name(name: str) -> str:
    """Return the name under which others find a base model: the default's has its owner in front on the hub."""
    from bench.models.base import DEFAULT_MODEL

    return f"sentence-transformers/{name}" if name == DEFAULT_MODEL else name


def _subject(store: Store, record: FitRecord, strategy: Strategy, order: Order, again: Refit | None) -> Subject:
    from bench.data.catalogue import catalogue
    from bench.models.info import model_info

    cell, base = target_cell(store, record), strategy.resources.model
    entry = catalogue().get(record.dataset)
    return Subject(
        fit=record,
        cell=cell,
        baseline=_baseline(store, cell),
        base_name=hub_name(base.name),
        licence=model_info(base).licence,
        max_length=strategy.resources.max_length,
        asymmetric=_asymmetric(strategy),
        form="adapter" if order.separate else "merged",
        dataset=entry.info if entry is not None else None,
        refit=again,
    )


def _baseline(store: Store, cell: CellResult | None) -> CellResult | None:
    """Return how the run's baseline was measured on the same queries."""
    from bench.config.schema import BASELINE

    if cell is None:
        return None
    asked = [call["config"]["baseline"] for call in store.invocations() if call.get("config", {}).get("baseline")]
    name = asked[-1] if asked else BASELINE
    where = (cell.dataset, cell.split, cell.model, cell.fingerprints.get("dataset"))
    return next(
        (
            other
            for other in store.results()
            if other.strategy == name
            and other.usable
            and (other.dataset, other.split, other.model, other.fingerprints.get("dataset")) == where
            and other.seed in (None, cell.seed)
        ),
        None,
    )


def write_archive(folder: Path, archive: Path) -> None:
    """Pack a model folder as hosted endpoints take it: the model at the root, `code/inference.py` beside it.

    The bytes depend on the content alone.
    """
    inference = Path(__file__).with_name("inference.py").read_bytes()
    requirements = "".join(f"{name}=={version(name)}\n" for name in _SERVED_WITH).encode()
    archive.parent.mkdir(parents=True, exist_ok=True)
    with (
        archive.open("wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                with path.open("rb") as stream:
                    tar.addfile(_member(path.relative_to(folder).as_posix(), path.stat().st_size), stream)
        for name, content in (("code/inference.py", inference), ("code/requirements.txt", requirements)):
            tar.addfile(_member(name, len(content)), BytesIO(content))


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member
