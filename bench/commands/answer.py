"""Let a reader answer from the rankings of a finished run, and report whether better rankings give better answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.commands._complete import allow_incomplete, open_complete
from bench.commands._options import COUNT, FILE, STRATEGIES, command, json_flag, option, run_folder
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.answering.adapting import AdaptedReader
    from bench.answering.measure import Measuring
    from bench.answering.preferences import Preferences
    from bench.progress import Progress
    from bench.readers.base import Reader
    from bench.store.answers import AnswerRecord
    from bench.store.places import Place
    from bench.store.preferences import SheetRecord
    from bench.store.store import Store

_MEASURES = "Measures of the answers"
_PEOPLE = "People who compare answers"


@command(__doc__)
@run_folder
@option(
    "--reader", default="smollm2", metavar="NAME",
    help="smollm2 (packaged), a model folder, a hub name, a chat endpoint openai:URL#MODEL, or one that is adapted to "
    "the run's training questions: sft(smollm2), sft(smollm2, method=full), dpo(smollm2)",
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
@option(
    "--strategy-file", type=FILE, multiple=True, metavar="FILE",
    help="import this strategy file, which the run used: to adapt a reader to the passages of a strategy of yours",
)  # fmt: skip
@option(
    "--usd-per-million-tokens", metavar="IN,OUT", section=_MEASURES,
    help="prices of tokens read and written, for the cost of the reader",
)  # fmt: skip
@option(
    "--abstention", multiple=True, metavar="WORDS", section=_MEASURES,
    help="words that say that there is no answer, in place of the listed ones (docs/answers.md); repeat it",
)  # fmt: skip
@option("--bert-score", type=FILE, metavar="FOLDER", section=_MEASURES, help="measure BERTScore with this encoder")
@option("--bert-score-layer", type=COUNT, metavar="N", section=_MEASURES, help="the layer of the encoder to compare")
@option(
    "--judge", metavar="NAME", section=_MEASURES,
    help="measure faithfulness and hallucination: an entailment classifier (folder or hub name), or a language model "
    "as in --reader",
)  # fmt: skip
@option("--judge-prompt", type=FILE, section=_MEASURES, help="a TOML file with another prompt for such a model")
@option(
    "--sheet", type=FILE, section=_PEOPLE,
    help="after reading, write a blind sheet of pairs of answers: a page (.html) or a table (.csv)",
)  # fmt: skip
@option(
    "--sheet-strategies", type=STRATEGIES, metavar="A,B", section=_PEOPLE,
    help="the strategies to compare with the baseline  [default: all]",
)  # fmt: skip
@option("--sheet-queries", type=COUNT, default=50, metavar="N", section=_PEOPLE, help="queries of each strategy")
@option(
    "--seed", type=click.IntRange(min=0), default=0, section=_PEOPLE, help="draws queries, order and sides of the sheet"
)
@option(
    "--judged", type=FILE, multiple=True, section=_PEOPLE,
    help="a sheet with choices: print and report which answers people prefer. Repeat it, once for each judge",
)  # fmt: skip
@allow_incomplete
@json_flag("print the records as JSON")
def main(
    folder: Place | None, reader: str, prompt: Path | None, top: int, context_tokens: int, max_tokens: int,
    queries: int | None, generate: int | None, device: str, precision: str, strategy_file: tuple[Path, ...],
    allow_incomplete: bool, as_json: bool,
    judged: tuple[Path, ...], sheet: Path | None, sheet_strategies: str | None, sheet_queries: int, seed: int,
    **measured: Any,
) -> int:  # fmt: skip
    """Read, write the records, and write the report again."""
    from bench.answering.adapting import Adapter
    from bench.answering.answer import Adapted, AnswerSettings, answer
    from bench.answering.sheet import SheetSettings, write_pairs
    from bench.commands._console import console, emit_json
    from bench.exporting.selection import execution_settings
    from bench.expression import parse_list
    from bench.models.device import require
    from bench.readers.adaptation import is_adaptation
    from bench.readers.locate import reader_of
    from bench.readers.prompts import Prompt, read_prompt
    from bench.report import write_report
    from bench.report.load import load_run

    store = open_complete(folder, allow_incomplete)
    if judged:
        from bench.answering.preferences import preferences

        found = preferences(load_run(store), judged)
        if _keep_choices(store, found):
            store.publish(write_report(store, store.folder))
        _show_preferences(found, as_json)
        return 0
    requested = read_prompt(prompt) if prompt is not None else Prompt()
    require(device)
    measuring = _measuring(measured, device, precision)
    settings = AnswerSettings(top, context_tokens, max_tokens, queries, generate)
    run = load_run(store)
    names = {cell.cell: cell.strategy + ("" if cell.seed is None else f", seed {cell.seed}") for cell in run.results}
    adapted: list[AdaptedReader] = []
    if is_adaptation(reader):
        execution = execution_settings(store, [str(file) for file in strategy_file])
        adapted = Adapter(run, execution, settings, requested, device, precision, _progress()).readers(reader)
    for each in adapted:
        _show_adaptation(each)
        answer(run, each.before, settings, requested, _progress(), measuring, Adapted(each.adapted.target))
    reads: list[tuple[Reader, Adapted | None]] = [(each.after, each.adapted) for each in adapted] or [
        (reader_of(reader, device, precision), None)
    ]
    records = [
        record
        for model, how in reads
        for record in answer(run, model, settings, requested, _progress(), measuring, how)
    ]
    if sheet is not None:
        if len(records) != 1:
            raise BenchError("a sheet is of one dataset, and the reader answered questions of several")
        compared = [str(each) for each in parse_list(sheet_strategies)] if sheet_strategies else []
        hidden = write_pairs(run, records[0], reads[0][0], sheet, SheetSettings(compared, sheet_queries, seed))
        _show_sheet(hidden, sheet, store.place)
    written = store.publish(write_report(store, store.folder))
    if as_json:
        emit_json({"answers": [record.model_dump() for record in records], "report": written[0]})
        return 0
    for record in records:
        _show(record, names)
    console().print(written[0], markup=False, highlight=False)
    return 0


def _measuring(given: Mapping[str, Any], device: str, precision: str) -> Measuring:
    """Return how the answers are measured, from the options of that section."""
    from bench.answering.measure import Measuring
    from bench.commands._prices import prices
    from bench.evaluation.answers import ABSTENTIONS
    from bench.readers.judges import read_judge_prompt
    from bench.readers.locate_judge import judge_of

    bert, layer = given["bert_score"], given["bert_score_layer"]
    if layer is not None and bert is None:
        raise BenchError("--bert-score-layer is the layer of an encoder: name it with --bert-score")
    judge, prompt, usd = given["judge"], given["judge_prompt"], given["usd_per_million_tokens"]
    if prompt is not None and judge is None:
        raise BenchError("--judge-prompt is the prompt of a judge: name it with --judge")
    requested = read_judge_prompt(prompt) if prompt is not None else None
    return Measuring(
        abstentions=tuple(given["abstention"]) or ABSTENTIONS,
        bert=bert,
        bert_layer=layer,
        judge=judge_of(judge, requested, device, precision) if judge is not None else None,
        usd_per_million=prices(usd) if usd is not None else None,
        device=device,
    )


def _progress() -> Progress:
    """Return a progress function that prints tenths of the readings, of the verdicts, and of an adaptation's work."""
    from bench.commands._console import tenths

    shown = {
        "reading": tenths("readings"),
        "judging": tenths("verdicts"),
        "answering": tenths("answers of the reader's own"),
        "tuning": tenths("steps of the reader"),
    }
    return lambda event, values: shown[event](event, values)


def _show_adaptation(reader: AdaptedReader) -> None:
    """Say on standard error how a reader was adapted, and what it forgot."""
    from bench.commands._console import err_console

    record = reader.adapted.record
    err_console().print(
        f"{reader.after.name} learned from {record['train_queries']:,} questions of {reader.adapted.target[0]} in "
        f"{record['steps']:,} steps and {record['seconds']:,.0f} s; the checkpoint of step {record['best_step']:,} is "
        f"kept. The model lies in {reader.after.folder}",
        markup=False,
    )
    if perplexity := record["perplexity"]:
        err_console().print(
            f"Perplexity on {perplexity['texts']} general texts: {perplexity['before']:.2f} before, "
            f"{perplexity['after']:.2f} after.",
            markup=False,
        )


def _show(record: AnswerRecord, names: dict[str, str]) -> None:
    """Print what a reader made of each context; `names` has the strategy and the seed of a cell."""
    from rich.table import Table

    from bench.commands._console import console, print_table
    from bench.report.readings import HEADLINES, MEASURES

    paid = record.paid
    console().print(
        f"{record.dataset}, {record.split}: {record.reader} read {record.n_queries:,} queries, up to "
        f"{record.settings['top']} passages each. {paid['readings']:,.0f} readings were made in {paid['seconds']:,.0f} "
        f"s, and {paid['reused']:,.0f} were there already."
        + (f" They cost {paid['usd']:,.4g} USD." if "usd" in paid else ""),
        markup=False,
    )
    for group in (HEADLINES, [name for name in MEASURES if name not in HEADLINES]):
        measures = [name for name in group if any(name in each.metrics for each in record.contexts.values())]
        if not measures:
            continue
        table = Table("passages of", *measures, box=None)
        for context, summary in record.contexts.items():
            values = [f"{summary.metrics[name]:.3f}" if name in summary.metrics else "-" for name in measures]
            table.add_row(names.get(context, context), *values)
        print_table(table)
    for note in record.notes:
        console().print(note, markup=False)


def _show_sheet(hidden: SheetRecord, sheet: Path, place: str) -> None:
    """Say on standard error what a sheet holds and what to do with it."""
    from bench.commands._console import err_console

    same = sum(count for counts in hidden.same.values() for count in counts.values())
    how = "Open it in a browser, choose, and save the CSV." if sheet.suffix.lower() == ".html" else (
        "Write 1, 2 or tie into the last column. Rows may stay empty."
    )  # fmt: skip
    err_console().print(
        f"{sheet}: {len(hidden.pairs):,} pairs of answers that differ; {same:,} more are the same and left out. {how} "
        f"Then: adaptbench answer {place} --judged FILE",
        markup=False,
    )


def _keep_choices(store: Store, found: Preferences) -> bool:
    """Keep what judges chose for the report; returns whether that is new. A packed run cannot keep it."""
    from bench.commands._console import err_console
    from bench.errors import StoreError
    from bench.store.preferences import JudgedRecord, put_judged

    record = JudgedRecord(sheet=found.sheet.sheet, choices=[dict(each) for each in found.choices])
    try:
        return put_judged(store, record)
    except StoreError as error:
        err_console().print(f"The choices are not kept for the report: {error}", style="yellow", markup=False)
        return False


def _show_preferences(found: Preferences, as_json: bool) -> None:
    """Print what people preferred."""
    from rich.table import Table

    from bench.commands._console import console, emit_json, print_table
    from bench.report import numbers
    from bench.report.sections.preferred_answers import agreement_words

    agreement = found.agreement
    if as_json:
        agreed = None
        if agreement is not None:
            kappa = agreement.kappa if agreement.kappa == agreement.kappa else None
            agreed = {**vars(agreement), "kappa": kappa, "name": agreement.name}
        emit_json(
            {
                "answers": found.sheet.answers,
                "judges": found.judges,
                "preferences": [each.as_json() for each in found.preferences],
                "agreement": agreed,
            }
        )
        return
    for path, count in found.judges.items():
        console().print(f"{path}: {count:,} of {len(found.sheet.pairs):,} pairs judged", markup=False)
    table = Table(
        "strategy", "against", "pairs", "preferred", "95% CI, uncorrected", "p, Holm-adjusted", "wins / ties / losses",
        "same answer", box=None,
    )  # fmt: skip
    for each in found.preferences:
        shares = " / ".join(map(numbers.percent, (each.wins, each.ties, each.losses)))
        low, high = each.interval
        ends = numbers.MISSING if each.finding is None else f"{low:.3f} to {high:.3f}"
        p = numbers.p_value(each.finding.p if each.finding is not None else None)
        pairs, same = f"{each.pairs:,}", f"{each.same:,}"
        table.add_row(each.strategy, each.baseline, pairs, numbers.score(each.rate), ends, p, shares, same)
    print_table(table)
    console().print(
        "Preferred: the share of pairs in which the strategy's answer was chosen; a tie counts one half.", markup=False
    )
    if agreement is not None:
        console().print(agreement_words(agreement), markup=False)
