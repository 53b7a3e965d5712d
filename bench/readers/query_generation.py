"""Queries that a language model writes for passages, for training without labels (InPars; Bonifacio et al., 2022).

A query is kept if it is one, if no other passage got the same, and if its passage is found again among the first
results (round trip; Alberti et al., 2019, section 3.4; Dai et al., 2023, Promptagator, section 3.2).
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from bench.data.dataset import Corpus
from bench.data.pseudo import GENERATED, PseudoQuery
from bench.data.text import normalise, words
from bench.errors import DataError
from bench.progress import Progress, silent
from bench.readers.base import Messages, Reader
from bench.readers.query_prompts import QueryPrompt
from bench.retrieval.ranking import Ranking
from bench.store.answers import ReadingCache

KIND = GENERATED
_FEWEST_WORDS = 2
_MOST_WORDS = 40
_MILLION = 1_000_000


@dataclass(frozen=True)
class GenerationSettings:
    """How queries are written and filtered."""

    per_passage: int = 2
    passages: int | None = None
    """Passages that get queries, drawn by the seed. None is all."""
    passage_tokens: int = 256
    """The largest number of tokens of a passage that the model is shown."""
    max_tokens: int = 32
    """The largest number of tokens of a query."""
    round_trip: int = 10
    """A query is kept if its passage is among so many first results. 0 keeps it wherever the passage is."""
    min_score: float | None = None
    """The lowest similarity of a query and its passage. None keeps all."""
    usd_per_million: tuple[float, float] = (0.0, 0.0)
    """Price of a million tokens of prompts, and of a million tokens that are written."""


@dataclass
class Generated:
    """Queries that were kept, what became of the others, and what was paid."""

    queries: list[PseudoQuery]
    reader: str
    settings: GenerationSettings
    prompt: QueryPrompt
    fates: Counter[str] = field(default_factory=Counter)
    """`kept`, `no question`, `copied`, `repeated`, `not found again`, `low score` -> number of queries."""
    paid: dict[str, float] = field(default_factory=dict)
    """`calls`, `reused`, `prompt_tokens`, `tokens`, `seconds`, `usd`. What the cache spared is in `reused` alone."""

    @property
    def summary(self) -> str:
        """What became of all queries, in a sentence."""
        written = sum(self.fates.values())
        lost = ", ".join(f"{count:,} {fate}" for fate, count in self.fates.most_common() if fate != "kept" and count)
        kept = f"{self.reader} wrote {written:,} queries; {self.fates['kept']:,} are kept"
        return f"{kept} ({lost})" if lost else kept

    @property
    def price(self) -> str:
        """What was paid, in two sentences."""
        paid = {name: f"{amount:,.0f}" for name, amount in self.paid.items()}
        return (
            f"It read {paid['prompt_tokens']} tokens and wrote {paid['tokens']} in {paid['calls']} calls and "
            f"{paid['seconds']} s, for {self.paid['usd']:,.2f} USD. {paid['reused']} queries were written before."
        )

    def as_json(self) -> dict[str, object]:
        """Return everything but the queries, as JSON values."""
        return {
            "reader": self.reader,
            "settings": asdict(self.settings),
            "prompt": self.prompt.model_dump(mode="json"),
            "fates": dict(self.fates),
            "paid": self.paid,
        }


def generate(
    corpus: Corpus,
    reader: Reader,
    prompt: QueryPrompt,
    settings: GenerationSettings,
    cache: ReadingCache,
    search: Callable[[Mapping[str, str], int], Ranking] | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Generated:
    """Let a reader write queries for passages, and filter them.

    Args:
        corpus: its passages get queries.
        reader: writes them. What it has written before is read from the cache.
        prompt: turns a passage into a chat.
        settings: how they are written and filtered.
        cache: of this reader.
        search: ranks the corpus for queries (id -> text), so many documents each; for the round trip and the score.
        seed: draws the passages.
        progress: is called with `generating` and the numbers of queries done and needed.

    Raises:
        DataError: no query is left.
        ModelError: the reader failed. What it wrote before is kept in the cache.
    """
    places = range(len(corpus))
    if settings.passages is not None and settings.passages < len(corpus):
        places = sorted(random.Random(seed).sample(places, settings.passages))  # type: ignore[assignment]
    asks: dict[tuple[int, int], tuple[str, Messages]] = {}
    for place in places:
        passage, _ = reader.cut(corpus.texts[place], settings.passage_tokens)
        for number in range(settings.per_passage):
            messages = prompt.messages(passage, number)
            asks[place, number] = _key(reader, messages, settings.max_tokens), messages
    generated = Generated([], reader.name, settings, prompt)
    generated.paid = _write(reader, dict(asks.values()), settings, cache, progress)
    found: list[PseudoQuery] = []
    seen: set[str] = set()
    for (place, number), (key, _) in asks.items():
        text = _cleaned(str(cache[key]["text"]))
        if fate := _fate(text, corpus.texts[place], seen):
            generated.fates[fate] += 1
            continue
        seen.add(normalise(text))
        doc = corpus.ids[place]
        found.append(PseudoQuery(f"pseudo-{KIND}-{number}-{doc}", text, doc, KIND))
    generated.queries = list(_found_again(found, settings, search, generated.fates))
    generated.fates["kept"] = len(generated.queries)
    if not generated.queries:
        raise DataError(f"no query is left for training: {generated.summary}")
    return generated


def _key(reader: Reader, messages: Messages, max_tokens: int) -> str:
    return hashlib.sha256(json.dumps([reader.fingerprint, KIND, messages, max_tokens]).encode()).hexdigest()[:32]


def _write(
    reader: Reader,
    asks: Mapping[str, Messages],
    settings: GenerationSettings,
    cache: ReadingCache,
    progress: Progress,
) -> dict[str, float]:
    """Let the reader write what the cache does not have, and return what that cost."""
    missing = {key: messages for key, messages in asks.items() if key not in cache}
    keys = list(missing)
    paid = dict.fromkeys(("calls", "reused", "prompt_tokens", "tokens", "seconds"), 0.0)
    paid["reused"] = float(len(asks) - len(missing))
    written = reader.write(list(missing.values()), settings.max_tokens)
    progress("generating", {"done": 0, "total": len(missing)})
    for part in cache.saved({"key": keys[place], **asdict(query)} for place, query in written):
        paid["calls"] += len(part)
        for unit in ("prompt_tokens", "tokens", "seconds"):
            paid[unit] += sum(row[unit] for row in part)
        progress("generating", {"done": int(paid["calls"]), "total": len(missing)})
    prices = settings.usd_per_million
    paid["usd"] = (paid["prompt_tokens"] * prices[0] + paid["tokens"] * prices[1]) / _MILLION
    return paid


def _cleaned(text: str) -> str:
    """Return the question of an answer: its first line, without a label, a number or quotation marks around it."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    for label in ("question:", "query:", "q:", "1.", "-"):
        if line.lower().startswith(label):
            line = line[len(label) :].strip()
    return line.strip("\"'“”‘’ ")


def _fate(text: str, passage: str, seen: set[str]) -> str:
    """Return why a text is no query of its own, or nothing."""
    if not _FEWEST_WORDS <= len(words(text)) <= _MOST_WORDS:
        return "no question"
    plain = normalise(text)
    if plain.rstrip("?") in normalise(passage):
        return "copied"
    return "repeated" if plain in seen else ""


def _found_again(
    queries: Sequence[PseudoQuery],
    settings: GenerationSettings,
    search: Callable[[Mapping[str, str], int], Ranking] | None,
    fates: Counter[str],
) -> Iterator[PseudoQuery]:
    """Yield the queries whose passage is found again, with a score that is high enough."""
    if search is None or not queries or not (settings.round_trip or settings.min_score is not None):
        yield from queries
        return
    depth = settings.round_trip or 1000
    ranking = search({query.id: query.text for query in queries}, depth)
    for query in queries:
        scores = dict(ranking[query.id])
        if query.doc not in scores:
            fates["not found again"] += 1
        elif settings.min_score is not None and scores[query.doc] < settings.min_score:
            fates["low score"] += 1
        else:
            yield query
