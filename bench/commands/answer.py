"""Let a reader answer from the rankings of a finished run, and report whether better rankings give better answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.commands._complete import allow_incomplete, open_complete
from bench.commands._options import COUNT, FILE, command, json_flag, option, run_folder

if TYPE_CHECKING:
    from bench.store.answers import AnswerRecord


@command(__doc__)
@run_folder
@option(
    "--reader", default="smollm2", metavar="NAME",
    help="smollm2 (packaged), a model folder, or a chat endpoint openai:URL#MODEL",
)  # fmt: skip
@option("--prompt", type=FILE, help="a TOML file with another prompt, with or without examples")
@option("--top", type=COUNT, default=1, metavar="K", help="passages that the reader is shown")
@option("--context-tokens", type=COUNT, default=512, metavar="N", help="the largest number of tokens of all passages")
@option("--max-tokens", type=COUNT, default=24, metavar="N", help="the largest number of tokens of an answer")
@option("--queries", type=COUNT, metavar="N", help="a sample of so many queries  [default: all]")
@option(
    "--generate", type=click.IntRange(min=0), metavar="N",
    help="write answers to so many of them; likelihoods are given for all  [default: all]",
)  # fmt: skip
@option("--device", default="cpu", metavar="NAME", help="where a local reader runs: cpu, cuda, mps")
@option("--precision", default="auto", help="auto, bf16 or fp32, for a local reader")
@allow_incomplete
@json_flag("print the records as JSON")
def main(
    folder: Path | None, reader: str, prompt: Path | None, top: int, context_tokens: int, max_tokens: int,
    queries: int | None, generate: int | None, device: str, precision: str, allow_incomplete: bool, as_json: bool,
) -> int:  # fmt: skip
    """Read, write the records, and write the report again."""
    from bench.answering.answer import AnswerSettings, answer
    from bench.commands._console import console, emit_json, tenths
    from bench.models.device import require
    from bench.readers.locate import reader_of
    from bench.readers.prompts import read_prompt
    from bench.report import write_report
    from bench.report.load import load_run

    store = open_complete(folder, allow_incomplete)
    asked = read_prompt(prompt) if prompt is not None else None
    require(device)
    settings = AnswerSettings(top, context_tokens, max_tokens, queries, generate)
    run = load_run(store)
    names = {cell.cell: cell.strategy + ("" if cell.seed is None else f", seed {cell.seed}") for cell in run.results}
    records = answer(run, reader_of(reader, device, precision), settings, asked, tenths("readings"))
    written = write_report(store, store.folder)
    if as_json:
        emit_json({"answers": [record.model_dump() for record in records], "report": str(written[0])})
        return 0
    for record in records:
        _show(record, names)
    console().print(str(written[0]), markup=False, highlight=False)
    return 0


def _show(record: AnswerRecord, names: dict[str, str]) -> None:
    """Print what a reader made of each context; `names` has the strategy and the seed of a cell."""
    from rich.table import Table

    from bench.answering.answer import MEASURES
    from bench.commands._console import console, print_table

    paid = record.paid
    console().print(
        f"{record.dataset}, {record.split}: {record.reader} read {record.n_queries:,} queries, up to "
        f"{record.settings['top']} passages each. {paid['readings']:,.0f} readings were made in {paid['seconds']:,.0f} "
        f"s, and {paid['reused']:,.0f} were there already.",
        markup=False,
    )
    measures = [name for name in MEASURES if any(name in each.metrics for each in record.contexts.values())]
    table = Table("passages of", *measures, box=None)
    for context, summary in record.contexts.items():
        values = [f"{summary.metrics[name]:.3f}" if name in summary.metrics else "-" for name in measures]
        table.add_row(names.get(context, context), *values)
    print_table(table)
