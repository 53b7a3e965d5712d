"""The options of `import` for queries that a language model writes, and the writing itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.commands._options import COUNT, FILE, flag, option

if TYPE_CHECKING:
    from bench.data.dataset import Corpus
    from bench.readers.query_generation import Generated
    from bench.retrieval.ranking import Ranking

RECORD = "generated.json"
"""File in the dataset's folder: reader, prompt, settings, what became of the queries, and what they cost."""
_SECTION = "Queries that a language model writes (--generate-queries)"


def generation_options(function: Any) -> Any:
    """Add the options of generated queries to a command."""
    options = [
        option(
            "--generate-queries", type=COUNT, metavar="N", section=_SECTION,
            help="let a language model write N training queries for each document, and keep labelled ones for the test "
            "split",
        ),
        flag(
            "--keep-labels", section=_SECTION,
            help="split labelled questions as usual, and put the generated queries beside them, for gpl",
        ),
        option(
            "--reader", default="smollm2", metavar="NAME", section=_SECTION,
            help="what writes them: smollm2 (packaged), a model folder, or a chat endpoint openai:URL#MODEL",
        ),
        option("--prompt", type=FILE, section=_SECTION, help="a TOML file with another prompt and other examples"),
        option(
            "--generate-for", type=COUNT, metavar="N", section=_SECTION,
            help="a sample of so many documents gets queries  [default: all]",
        ),
        option(
            "--round-trip", type=click.IntRange(min=0), default=10, metavar="K", section=_SECTION,
            help="keep a query if its document is among the first K results of the base model; 0 keeps all",
        ),
        option(
            "--min-score", type=float, metavar="S", section=_SECTION,
            help="keep a query if its similarity with its document is at least S",
        ),
        option("--model", metavar="NAME", section=_SECTION, help="the base model of the round trip"),
        option(
            "--usd-per-million-tokens", default="0,0", metavar="IN,OUT", section=_SECTION,
            help="prices of tokens read and written, for the cost",
        ),
    ]  # fmt: skip
    return reduce(lambda done, add: add(done), reversed(options), function)


def generate_queries(corpus: Corpus, seed: int, given: Mapping[str, Any]) -> Generated:
    """Return the queries that a reader writes for a corpus.

    Args:
        corpus: its documents get queries.
        seed: draws the documents of a sample.
        given: the values of `generation_options`.

    Raises:
        BenchError: there is no such reader or prompt, the reader failed, or no query is left.
    """
    from bench.commands._console import tenths
    from bench.commands._prices import prices
    from bench.data.files import cache_folder
    from bench.readers.locate import reader_of
    from bench.readers.query_generation import GenerationSettings, generate
    from bench.readers.query_prompts import QueryPrompt, read_query_prompt
    from bench.store.answers import ReadingCache

    prompt = read_query_prompt(given["prompt"]) if given["prompt"] is not None else QueryPrompt()
    settings = GenerationSettings(
        per_passage=given["generate_queries"],
        passages=given["generate_for"],
        round_trip=given["round_trip"],
        min_score=given["min_score"],
        usd_per_million=prices(given["usd_per_million_tokens"]),
    )
    reader = reader_of(given["reader"])
    cache = ReadingCache(cache_folder() / "readers" / f"queries--{reader.fingerprint}.jsonl")
    search = _search(corpus, given["model"]) if settings.round_trip or settings.min_score is not None else None
    return generate(corpus, reader, prompt, settings, cache, search, seed, tenths("queries", " written"))


def put_record(generated: Generated, folder: Path) -> None:
    """Write beside a dataset how its queries were written."""
    text = json.dumps(generated.as_json(), indent=1, ensure_ascii=False)
    (folder / RECORD).write_text(text + "\n", encoding="utf-8")


def _search(corpus: Corpus, model: str | None) -> Callable[[Mapping[str, str], int], Ranking]:
    """Return what ranks the corpus by the base model. The corpus is encoded when it is first called."""
    from bench.encoders.base import BaseEncoder
    from bench.models.locate import base_model
    from bench.retrieval.cache import VectorCache, default_folder
    from bench.strategy.resources import Resources

    strategy = BaseEncoder(None, Resources(model=base_model(model), cache=VectorCache(default_folder())))
    return lambda queries, depth: strategy.search(queries, strategy.index(corpus), depth)
