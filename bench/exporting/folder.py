"""Writes a fitted strategy as a folder that other programs load, and packs it for hosting."""

from __future__ import annotations

import gzip
import shutil
import tarfile
from dataclasses import dataclass, field
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config.schema import BASELINE
from bench.data.catalogue import catalogue
from bench.data.files import named_in_errors
from bench.encoders.plain import plain_base
from bench.encoders.strategy import EncoderStrategy
from bench.errors import BenchError, NotApplicableError
from bench.exporting.card import CardContent, model_card
from bench.exporting.onnx import require_onnx, write_onnx
from bench.exporting.refit import Refit, refit
from bench.exporting.same_scores import check_same
from bench.exporting.selection import latest_config, target_cell
from bench.models.architectures import set_transformer, transformer_of
from bench.models.base import DEFAULT_MODEL, without_peft_warnings
from bench.models.info import model_info
from bench.records import CellResult, FitRecord
from bench.running.environment import JobEnvironment
from bench.store.store import Store
from bench.strategy.base import Strategy

if TYPE_CHECKING:
    from peft import PeftModel

ARCHIVE = "model.tar.gz"
CARD = "README.md"
_REQUIREMENTS = ("sentence-transformers", "transformers")
"""Packages that the archive's `requirements.txt` pins."""


@dataclass(frozen=True)
class ExportOptions:
    """Where to write an export, and in what form."""

    folder: Path
    separate: bool = False
    """Write the attachment alone, as a PEFT adapter."""
    onnx: bool = False
    archive: Path | None = None
    final_refit: bool = False
    force: bool = False
    """Whether existing files may be replaced."""


@dataclass
class Exported:
    """A finished export."""

    fit: str
    folder: Path
    form: str
    """`merged` or `adapter`."""
    difference: float
    """Largest difference between a score of the strategy and one of the exported model, in fp32."""
    files: list[str] = field(default_factory=list)
    archive: Path | None = None
    refit: bool = False


def export(environment: JobEnvironment, record: FitRecord, options: ExportOptions) -> Exported:
    """Write a fit as a sentence-transformers folder with its model card, and check that it scores as the strategy does.

    Raises:
        NotApplicableError: such a folder cannot hold the strategy; gives the reason. No files are left behind.
        BenchError: the folder exists already, or an optional package is missing.
    """
    if options.onnx:
        require_onnx()
    if options.separate and (options.onnx or options.archive):
        raise BenchError("--separate writes an adapter and cannot be combined with --onnx or --archive")
    for path in (options.folder, options.archive):
        if path is not None and path.exists() and (path.is_file() or any(path.iterdir())) and not options.force:
            raise BenchError(f"{path} exists already: give another --out, or --force to replace it")
    refitted = refit(environment, record) if options.final_refit else None
    strategy = refitted.strategy if refitted else environment.strategy(record.fit)
    model = strategy.to_sentence_transformer()
    library_class = type(model).__name__
    if library_class != "SentenceTransformer" and (options.onnx or options.archive or options.separate):
        raise NotApplicableError(
            f"--onnx, --archive and --separate are for models of one vector a text, and {record.strategy} is exported "
            f"as a {library_class}"
        )
    difference = check_same(strategy, model)
    if options.folder.exists():
        shutil.rmtree(options.folder)
    options.folder.mkdir(parents=True)
    try:
        with named_in_errors(options.folder):
            if options.separate:
                difference = _save_adapter(strategy, options.folder)
            else:
                model.save_pretrained(str(options.folder), create_model_card=False)
            if refitted is not None:
                _save_objective(strategy, options.folder)
            if options.onnx:
                write_onnx(model, options.folder)
            content = _card_content(environment.store, record, strategy, model, options, refitted)
            (options.folder / CARD).write_text(model_card(content, environment.store), encoding="utf-8")
    except NotApplicableError:
        shutil.rmtree(options.folder)
        raise
    if options.archive is not None:
        write_archive(options.folder, options.archive)
    files = [path.relative_to(options.folder).as_posix() for path in options.folder.rglob("*") if path.is_file()]
    return Exported(
        fit=record.fit,
        folder=options.folder,
        form=content.form,
        difference=difference,
        files=sorted(files),
        archive=options.archive,
        refit=refitted is not None,
    )


def _save_objective(strategy: Strategy, folder: Path) -> None:
    """Write what the objective made in a second fit, such as the reader of `joint`. No fit of the run holds it."""
    if isinstance(strategy, EncoderStrategy):
        strategy.objective.save(folder)


def _save_adapter(strategy: Strategy, folder: Path) -> float:
    """Write a PEFT adapter, load it onto a fresh base model, and return the largest difference of its scores."""
    representation = getattr(strategy, "representation", None)
    if representation is not None and representation.n_towers > 1:
        raise NotApplicableError(
            f"--separate writes one adapter, and {strategy.name} has one for queries and one for documents"
        )
    from peft import PeftModel
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router

    peft_model(strategy, "--separate").save_pretrained(str(folder))
    adapted = plain_base(strategy.resources)
    with without_peft_warnings():
        set_transformer(adapted, PeftModel.from_pretrained(transformer_of(adapted), str(folder)).eval())
    if is_asymmetric(strategy):
        router = Router.for_query_document(list(adapted), list(plain_base(strategy.resources)))
        prompts, similarity = adapted.prompts, adapted.similarity_fn_name
        adapted = SentenceTransformer(modules=[router], device="cpu", prompts=prompts, similarity_fn_name=similarity)
    return check_same(strategy, adapted.eval())


def peft_model(strategy: Strategy, option: str) -> PeftModel:
    """Return the PEFT model inside a strategy, which names its base model as the hub does.

    Raises:
        NotApplicableError: it keeps no PEFT adapter. The message begins with the option that asked for it.
    """
    from peft import PeftModel

    model = getattr(strategy, "model", None)
    wrapped = transformer_of(model) if model is not None else None
    if not isinstance(wrapped, PeftModel):
        raise NotApplicableError(f"{option}: {strategy.name} keeps no PEFT adapter beside the model's weights")
    for config in wrapped.peft_config.values():
        config.base_model_name_or_path = hub_name(strategy.resources.model.name)
    return wrapped


def is_asymmetric(strategy: Strategy) -> bool:
    """Return whether queries and documents have encoders of their own."""
    representation = getattr(strategy, "representation", None)
    two = representation is not None and representation.n_towers > 1
    return strategy.trains != "none" and (strategy.reindex == "none" or two)


def hub_name(name: str) -> str:
    """Return the name of a base model on the hub, where the default model has its owner in front."""
    return f"sentence-transformers/{name}" if name == DEFAULT_MODEL else name


def _card_content(
    store: Store,
    record: FitRecord,
    strategy: Strategy,
    model: Any,
    options: ExportOptions,
    refitted: Refit | None,
) -> CardContent:
    cell, base = target_cell(store, record), strategy.resources.model
    entry = catalogue().get(record.dataset)
    return CardContent(
        fit=record,
        cell=cell,
        baseline=_baseline(store, cell),
        base_name=hub_name(base.name),
        licence=model_info(base).licence,
        max_length=strategy.resources.max_length,
        asymmetric=is_asymmetric(strategy),
        form="adapter" if options.separate else "merged",
        library_class=type(model).__name__,
        dataset=entry.info if entry is not None else None,
        refit=refitted,
    )


def _baseline(store: Store, cell: CellResult | None) -> CellResult | None:
    """Return the measurement of the run's baseline on the same queries."""
    if cell is None:
        return None
    name = latest_config(store).get("baseline") or BASELINE
    key = (name, cell.dataset, cell.split, cell.model, cell.fingerprints.get("dataset"))
    return next(
        (
            other
            for other in store.results()
            if other.usable
            and (other.strategy, other.dataset, other.split, other.model, other.fingerprints.get("dataset")) == key
            and other.seed in (None, cell.seed)
        ),
        None,
    )


def write_archive(folder: Path, archive: Path) -> None:
    """Pack a model folder for hosted endpoints: the model at the root, `code/inference.py` beside it.

    The bytes depend on the content alone.
    """
    inference = Path(__file__).with_name("inference.py").read_bytes()
    requirements = "".join(f"{name}=={version(name)}\n" for name in _REQUIREMENTS).encode()
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
