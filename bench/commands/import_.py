"""`adaptbench import`: a user's own tables and documents become a dataset folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.data.dataset import Dataset
    from bench.data.importing import Builder

SUMMARY = "make a dataset folder of a table of pairs, or of a folder of documents"

_COLUMNS = {
    "query": "the question",
    "positive": "the passage that answers it",
    "negative": "a passage that does not",
    "score": "how relevant the passage is: a whole grade, or any number with --relevant-from",
    "title": "the passage's title",
    "group": "the question's source or topic, for stratified samples and averages",
    "split": "train, dev or test, where the split is settled",
    "target": "in a pair file: the document's id, file, or file#heading",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where from, where to, which columns, how to split."""
    from bench.commands._numbers import whole_above_zero

    parser.add_argument(
        "source",
        help="a table (.csv, .tsv, .jsonl, .parquet) of question and passage; or a folder of Markdown or text files; "
        "or a folder with a corpus.jsonl",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="the folder to make; must not be there yet")
    parser.add_argument("--pairs", metavar="FILE", help="a table that points from questions into a folder's documents")
    parser.add_argument(
        "--pseudo-queries",
        action="store_true",
        help="make the training queries from the documents; what is labelled is kept for the test",
    )
    columns = parser.add_argument_group("columns", "found by their usual names unless named here")
    for name, text in _COLUMNS.items():
        columns.add_argument(f"--{name}", metavar="COLUMN", help=text)
    parser.add_argument("--relevant-from", type=float, metavar="SCORE", help="a passage is relevant from this score on")
    parser.add_argument("--encoding", help="of a CSV file that is not UTF-8, such as cp1252")
    parser.add_argument(
        "--max-words", type=whole_above_zero, default=200, metavar="N", help="words a chunk of a document (200)"
    )
    parser.add_argument("--shares", default="80,10,10", metavar="T,D,T", help="train, dev and test, in percent")
    parser.add_argument("--seed", type=int, default=0, help="draws the splits")
    parser.add_argument("--licence", default="unknown", help="noted in the dataset's description")
    parser.add_argument("--json", action="store_true", help="print what was made as JSON")


def run(args: argparse.Namespace) -> int:
    """Import, write, and say what was made."""
    from bench.data.dataset import DatasetInfo
    from bench.data.folders import require_new
    from bench.data.partition import assemble
    from bench.data.write import write_dataset

    shares = _shares(args.shares)
    source, out = Path(args.source).expanduser(), Path(args.out).expanduser()
    require_new(out)
    builder = _read(args, source)
    info = DatasetInfo(
        out.name, title=f"imported from {source.name}", licence=args.licence, source=source.name,
        pseudo=args.pseudo_queries,
    )  # fmt: skip
    dataset = assemble(info, builder, args.seed, shares, args.pseudo_queries)
    write_dataset(dataset, out)
    _tell(args, dataset, out)
    return 0


def _read(args: argparse.Namespace, source: Path) -> Builder:
    """Read the source, whatever its kind, and the pair file."""
    from bench.data.beir import is_beir
    from bench.data.importing import Builder, Columns, from_chunks
    from bench.data.tables import read_table
    from bench.errors import DataError

    named: dict[str, str | None] = {name: getattr(args, name) for name in _COLUMNS}
    builder = Builder()
    if not source.is_dir():
        if args.pairs:
            raise DataError("--pairs goes with a folder of documents; a table holds its pairs itself")
        if args.target:
            raise DataError("--target goes with --pairs; a table holds its passages itself")
        table = read_table(source, args.encoding)
        builder.read_pairs(table, Columns.of(table, named), args.relevant_from)
        return builder
    chunks = _documents(source, args.max_words) if is_beir(source) else _chunks(source, args.max_words)
    builder.documents.update(from_chunks(chunks))
    for name in ("negative", "title") if args.pairs else _COLUMNS:
        if named[name]:
            why = "a pair file only points at documents" if args.pairs else "without --pairs there is no table"
            raise DataError(f"--{name} {named[name]} names a column that is not used: {why}")
    if args.pairs:
        table = read_table(Path(args.pairs).expanduser(), args.encoding)
        builder.read_pointers(table, Columns.of(table, named, pointing=True), chunks, args.relevant_from)
    elif not args.pseudo_queries:
        raise DataError(
            f"{source}: documents alone are no dataset: add --pairs FILE (questions that point into them), or "
            "--pseudo-queries (training queries made from the documents)"
        )
    return builder


def _chunks(source: Path, max_words: int) -> list[Any]:
    from bench.data.chunks import read_folder

    return list(read_folder(source, max_words))


def _documents(source: Path, max_words: int) -> list[Any]:
    """Return the documents of a BEIR corpus as they are, one chunk each."""
    from bench.data.beir import read_corpus
    from bench.data.chunks import Chunk

    corpus = read_corpus(source)
    titles, bodies = corpus.titles or [""] * len(corpus), corpus.bodies or corpus.texts
    return [Chunk(doc, doc, doc, title, body, ()) for doc, title, body in zip(corpus.ids, titles, bodies, strict=True)]


def _shares(text: str) -> dict[str, float]:
    """Read `80,10,10`.

    Raises:
        DataError: not three numbers, none below 0, that have a sum above 0 and leave something for the test.
    """
    from bench.errors import DataError

    try:
        train, dev, test = (float(part) for part in text.split(","))
    except ValueError as error:
        raise DataError(f"--shares {text!r}: expected three numbers, such as 80,10,10") from error
    if min(train, dev, test) < 0 or test == 0:
        raise DataError(f"--shares {text!r}: no share is below 0, and the test needs one above it")
    total = train + dev + test
    return {"train": train / total, "dev": dev / total, "test": test / total}


def _tell(args: argparse.Namespace, dataset: Dataset, out: Path) -> None:
    from bench.commands._console import console, emit_json, err_console

    counts = {split: len(qrels) for split, qrels in dataset.splits.items()}
    if args.json:
        emit_json(
            {
                "folder": str(out), "documents": len(dataset.corpus), "queries": counts,
                "pseudo": dataset.info.pseudo, "warnings": list(dataset.warnings), "fingerprint": dataset.fingerprint,
            }
        )  # fmt: skip
        return
    for warning in dataset.warnings:
        err_console().print(f"note: {warning}", markup=False)
    queries = ", ".join(f"{count} {split}" for split, count in counts.items())
    kind = " (training queries made from the documents: no labels)" if dataset.info.pseudo else ""
    console().print(f"{out}: {len(dataset.corpus)} documents; queries: {queries}{kind}", markup=False)
    console().print(f"next: adaptbench inspect {out}\n      adaptbench run --datasets {out}", markup=False)
