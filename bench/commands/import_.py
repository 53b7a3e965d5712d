"""Make a dataset folder from a table of pairs, or from a folder of documents."""

from __future__ import annotations

from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.commands._generated_queries import generate_queries, generation_options, put_record
from bench.commands._options import COUNT, DIR, FILE, command, flag, json_flag, option

if TYPE_CHECKING:
    from bench.data.dataset import Dataset
    from bench.data.importing import Builder
    from bench.readers.query_generation import Generated

_COLUMNS = {
    "query": "the question",
    "positive": "the passage that answers it",
    "negative": "a passage that does not answer it",
    "score": "how relevant the passage is: a whole grade, or any number with --relevant-from",
    "title": "the passage's title",
    "group": "the question's source or topic, for stratified samples and averages",
    "split": "train, dev or test, where the data are split already",
    "answers": "the answer to the question: a text, or a list of texts that are all right",
    "target": "in a pair file: the document's id, file, or file#heading",
}


def _column_options(function: Any) -> Any:
    """Add an option for each column of a table."""
    column = partial(
        option,
        metavar="COLUMN",
        section="Columns (found by their usual names; none: there is no such column)",
    )
    return reduce(lambda done, name: column(f"--{name}", help=_COLUMNS[name])(done), reversed(_COLUMNS), function)


@command(__doc__)
@click.argument(
    "source",
    type=FILE,
    help="a table (.csv, .tsv, .jsonl, .json, .parquet) of questions and passages, or a folder of its parts; a "
    "folder of Markdown or text files; or a folder with a corpus.jsonl",
)
@option("--out", required=True, type=DIR, help="the folder to make; it must not exist")
@option("--pairs", type=FILE, help="a table that points from questions into a folder's documents")
@flag(
    "--pseudo-queries", help="make the training queries from the documents, and keep labelled ones for the test split"
)
@_column_options
@option("--relevant-from", type=float, metavar="SCORE", help="a passage is relevant from this score on")
@option("--encoding", metavar="NAME", help="encoding of a CSV file that is not UTF-8, such as cp1252")
@option("--max-words", type=COUNT, default=200, metavar="N", help="words in a chunk of a document")
@option("--shares", default="80,10,10", metavar="T,D,T", help="train, dev and test in percent")
@option("--seed", type=int, default=0, metavar="N", help="draws the splits")
@option("--licence", default="unknown", metavar="NAME", help="noted in the dataset's description")
@generation_options
@json_flag("print what was made as JSON")
def main(
    source: Path, out: Path, pairs: Path | None, pseudo_queries: bool, relevant_from: float | None,
    encoding: str | None, max_words: int, shares: str, seed: int, licence: str, as_json: bool, **others: Any,
) -> int:  # fmt: skip
    """Import, write, and print what was made."""
    from bench.data.dataset import DatasetInfo
    from bench.data.files import expanded
    from bench.data.folders import require_new
    from bench.data.partition import assemble
    from bench.data.pseudo import pseudo_queries as queries_of
    from bench.data.write import write_dataset
    from bench.errors import DataError

    columns = {name: others.pop(name) for name in _COLUMNS}
    generates, keeps = others["generate_queries"] is not None, others["keep_labels"]
    if keeps and not generates:
        raise DataError("--keep-labels goes with --generate-queries")
    if generates and pseudo_queries:
        raise DataError("--pseudo-queries makes queries without a model, and --generate-queries with one: take one")
    parts = _shares(shares)
    source, out = expanded(source), expanded(out)
    require_new(out)
    builder = (
        _read_documents(source, pairs, columns, relevant_from, encoding, max_words, pseudo_queries or generates)
        if source.is_dir() and not _is_table(source, pairs)
        else _read_table(source, pairs, columns, relevant_from, encoding)
    )
    if keeps and not builder.judged:
        raise DataError(f"--keep-labels: {source} has no labelled questions. --pairs FILE adds some")
    made, generated = None, None
    if generates:
        generated = generate_queries(builder.corpus(), seed, others)
        made = generated.queries
    elif pseudo_queries:
        made = queries_of(builder.corpus(), seed)
    info = DatasetInfo(
        out.name,
        title=f"imported from {source.name}",
        licence=licence,
        source=source.name,
        pseudo=made is not None and not keeps,
        generated_by=generated.reader if generated is not None else "",
    )
    dataset = assemble(info, builder, seed, parts, made, keep_labels=keeps)
    write_dataset(dataset, out)
    if generated is not None:
        put_record(generated, out)
    _show(dataset, builder, generated, out, as_json)
    return 0


def _is_table(folder: Path, pairs: Path | None) -> bool:
    """Whether a folder holds the parts of a table, and no documents."""
    from bench.data.beir import is_beir
    from bench.data.chunks import holds_documents
    from bench.data.tables import shards_of

    return pairs is None and not is_beir(folder) and not holds_documents(folder) and bool(shards_of(folder))


def _read_table(
    source: Path, pairs: Path | None, columns: dict[str, str | None], relevant_from: float | None, encoding: str | None
) -> Builder:
    """Read a table of questions and passages."""
    from bench.data.importing import Builder, Columns
    from bench.data.tables import read_shards, read_table
    from bench.errors import DataError

    if pairs:
        raise DataError("--pairs goes with a folder of documents; a table holds its pairs itself")
    if columns["target"]:
        raise DataError("--target goes with --pairs; a table holds its passages itself")
    builder = Builder()
    table = read_shards(source, encoding) if source.is_dir() else read_table(source, encoding)
    builder.read_pairs(table, Columns.of(table, columns), relevant_from)
    return builder


def _read_documents(
    source: Path, pairs: Path | None, columns: dict[str, str | None], relevant_from: float | None,
    encoding: str | None, max_words: int, pseudo_queries: bool,
) -> Builder:  # fmt: skip
    """Read a folder of documents, and the pair file that points into them. A BEIR folder brings its own labels."""
    from bench.data.beir import is_beir, read_beir, split_names
    from bench.data.dataset import DatasetInfo
    from bench.data.files import expanded
    from bench.data.importing import Builder, Columns, from_chunks
    from bench.data.tables import read_table
    from bench.errors import DataError

    builder = Builder()
    if is_beir(source) and split_names(source) and not pairs:
        if not pseudo_queries:
            raise DataError(f"{source} is a dataset already: bench run --datasets {source} takes it as it is")
        builder.read_dataset(read_beir(source, DatasetInfo(source.name)))
    else:
        chunks = _documents(source) if is_beir(source) else _chunks(source, max_words)
        builder.documents.update(from_chunks(chunks))
    for name in ("negative", "title") if pairs else _COLUMNS:
        if columns[name]:
            why = "a pair file only points at documents" if pairs else "without --pairs there is no table"
            raise DataError(f"--{name} {columns[name]} names a column that is not used: {why}")
    if pairs:
        table = read_table(expanded(pairs), encoding)
        builder.read_pointers(table, Columns.of(table, columns, pointing=True), chunks, relevant_from)
    elif not pseudo_queries:
        raise DataError(
            f"{source}: documents alone are no dataset. Add --pairs FILE (questions that point into them), or "
            "--pseudo-queries (training queries made from the documents), or --generate-queries N (a language model "
            "writes them)."
        )
    return builder


def _chunks(source: Path, max_words: int) -> list[Any]:
    from bench.data.chunks import read_folder

    return list(read_folder(source, max_words))


def _documents(source: Path) -> list[Any]:
    """Return the documents of a BEIR corpus, one chunk each."""
    from bench.data.beir import read_corpus
    from bench.data.chunks import Chunk

    corpus = read_corpus(source)
    titles, bodies = corpus.titles or [""] * len(corpus), corpus.bodies or corpus.texts
    return [Chunk(doc, doc, doc, title, body, ()) for doc, title, body in zip(corpus.ids, titles, bodies, strict=True)]


def _shares(text: str) -> dict[str, float]:
    """Read `80,10,10`.

    Raises:
        DataError: the text is not three numbers, one is below 0, or the test split gets nothing.
    """
    from bench.errors import DataError

    try:
        train, dev, test = (float(part) for part in text.split(","))
    except ValueError as error:
        raise DataError(f"--shares {text!r}: expected three numbers, such as 80,10,10") from error
    if min(train, dev, test) < 0 or test == 0:
        raise DataError(f"--shares {text!r}: no share may be below 0, and the share of the test split must be above 0")
    total = train + dev + test
    return {"train": train / total, "dev": dev / total, "test": test / total}


def _show(dataset: Dataset, builder: Builder, generated: Generated | None, out: Path, as_json: bool) -> None:
    from bench.commands._console import console, emit_json, err_console

    counts = {split: len(qrels) for split, qrels in dataset.splits.items()}
    if as_json:
        emit_json(
            {
                "folder": str(out), "documents": len(dataset.corpus), "queries": counts,
                "answered": len(dataset.answers), "pseudo": dataset.info.pseudo, "warnings": list(dataset.warnings),
                "fingerprint": dataset.fingerprint,
                "columns": builder.columns, "columns_ignored": builder.ignored, "rows": builder.rows,
                "skipped": dict(builder.skipped),
                **({"generated": generated.as_json()} if generated is not None else {}),
            }
        )  # fmt: skip
        return
    for warning in dataset.warnings:
        err_console().print(f"note: {warning}", markup=False)
    if builder.columns:
        used = "; ".join(f"{kind} = {', '.join(names)}" for kind, names in builder.columns.items())
        ignored = f"; not used: {', '.join(builder.ignored)}" if builder.ignored else ""
        console().print(f"columns: {used}{ignored}", markup=False)
        judged = [grade for docs in builder.judged.values() for grade in docs.values()]
        console().print(
            f"{builder.rows} rows gave {len(builder.judged)} questions with {sum(grade > 0 for grade in judged)} "
            f"relevant and {sum(grade <= 0 for grade in judged)} irrelevant passages; {builder.skipped.total()} rows "
            "were skipped",
            markup=False,
        )
    queries = ", ".join(f"{count} {split}" for split, count in counts.items())
    kind = " (training queries made from the documents: no labels)" if dataset.info.pseudo else ""
    if generated is not None:
        kind = f" (training queries written by {generated.reader}: no labels)"
        console().print(f"{generated.summary}. {generated.price}", markup=False)
    answers = f"; answers to {len(dataset.answers)} questions" if dataset.answers else ""
    console().print(f"{out}: {len(dataset.corpus)} documents; queries: {queries}{kind}{answers}", markup=False)
    console().print(f"next: adaptbench inspect {out}\n      adaptbench run --datasets {out}", markup=False)
