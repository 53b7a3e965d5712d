"""The terms that BM25 compares, by the script and the language of a corpus.

English: Snowball stems without stop words. Other languages: stems where Snowball has an algorithm, else whole words.
Scripts without spaces, and Korean: pairs of neighbouring letters (as Lucene's CJKBigramFilter makes), and each Chinese
character.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from bench.data.scripts import BIGRAMS, HAN, marks
from bench.retrieval.bm25s_module import bm25s_module

_WORD = re.compile(r"(?u)\b\w\w+\b")
_SAMPLE, _SAMPLE_CHARACTERS = 1000, 400
"""Documents, and characters of each, by which the script and the language are known."""
_LEAST = 0.01
"""Share of a corpus's letters from which its scripts without spaces, or with marks, need terms of their own."""
_SURE = 0.12
"""Share of function words of a language from which a text is in it. English is taken where no other one is sure."""
_IGNORED = "\u00ad\u2060\ufeff"
"""Signs inside of words that show nothing: the soft hyphen of typeset texts, the word joiner, the byte-order mark."""
_OPTIONAL = re.compile(
    "[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc]"
)
"""Vowel signs of Hebrew and Arabic, which most texts leave out, and the Arabic sign that stretches a word."""
_CHILLUS = {
    "\u0d23\u0d4d\u200d": "\u0d7a", "\u0d28\u0d4d\u200d": "\u0d7b", "\u0d30\u0d4d\u200d": "\u0d7c",
    "\u0d32\u0d4d\u200d": "\u0d7d", "\u0d33\u0d4d\u200d": "\u0d7e", "\u0d15\u0d4d\u200d": "\u0d7f",
}  # fmt: skip
"""Malayalam's final consonants as they were written before Unicode 5.1, and the letters that replaced them."""
_SHORTEST = 2
"""Letters of a term, except in the scripts that are compared by pairs."""

_ALPHABETS = (
    ("Latin", "A-Za-z\u00aa-\u024f\u1e00-\u1eff"),
    ("Greek", "\u0370-\u03ff\u1f00-\u1fff"),
    ("Cyrillic", "\u0400-\u052f"),
    ("Armenian", "\u0530-\u058f"),
    ("Arabic", "\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff\ufb50-\ufdff\ufe70-\ufeff"),
    ("Devanagari", "\u0900-\u097f"),
    ("Tamil", "\u0b80-\u0bff"),
    ("pairs", BIGRAMS),
)
_WITHOUT_MARKS = ("Latin", "Greek", "Cyrillic", "Armenian")
"""Alphabets that are read as English words where English is the corpus's language."""
_OF_ALPHABET = {"Greek": "greek", "Armenian": "armenian", "Tamil": "tamil"}
"""Alphabets of one language."""
_LISTS = {
    "danish": "DANISH", "dutch": "DUTCH", "english": "EN", "french": "FRENCH", "german": "GERMAN",
    "italian": "ITALIAN", "norwegian": "NORWEGIAN", "portuguese": "PORTUGUESE", "spanish": "SPANISH",
    "swedish": "SWEDISH", "turkish": "TURKISH",
}  # fmt: skip
"""Language -> its list of stop words in bm25s."""
_FUNCTION_WORDS = {
    "basque": "eta da ez du bat dira zen dute egin duen edo baina ere hau",
    "catalan": "el els les de que en amb no és al del es com més però són aquest una per dels aquesta",
    "czech": "se na je že do jako ale po pro který která jsou není nebo jak být by si ve tak při když od",
    "esperanto": "la kaj de en estas ne al por kun ke li mi tiu sed ankaŭ",
    "estonian": "ja on ei et ta see oli kui ka või mis oma siis kas ning",
    "finnish": "ja on ei se että oli hän mutta myös ovat joka kun niin kuin sen tai jos voi ole mitä miten tämä",
    "hungarian": "az és hogy nem egy van meg csak mint volt vagy már azt kell lehet ki hogyan ezt",
    "indonesian": "yang dan di dengan untuk ini itu dari dalam tidak akan pada adalah ke bisa atau oleh juga ada",
    "irish": "agus an na ar go bhí ag ní atá sé leis sa chun",
    "lithuanian": "ir yra kad į iš su kaip bet tai nuo apie buvo jo bei",
    "polish": "na nie się do to jest że jak ale po co od za przez czy dla być lub może przed jego są",
    "romanian": "și de în la cu nu un pe este că din sau pentru mai care ce se sunt dar cum o",
    "vietnamese": "và của là có không trong được cho các một người với này khi để những",
}
"""Frequent words of languages that have no list in bm25s. They tell the language, and are stop words."""
_DEVANAGARI = {
    "hindi": "है के में की को का से और हैं पर यह नहीं लिए करें कैसे क्या",
    "nepali": "छ र को मा लाई हो गर्नु भने छन् पनि यो गर्न",
    "marathi": "आहे आणि च्या आहेत हे ते नाही करा कसे काय",
}
_UNSTEMMED = ("vietnamese", "marathi")
"""Languages without an algorithm in Snowball."""


def english(text: str) -> list[str]:
    """Return the Snowball stems of the lower-case words of two letters or more, without English stop words."""
    stem, stop = _stemmer("english"), _stop_words("english")
    return stem([word for word in _WORD.findall(text.lower()) if word not in stop])


class _TermNumbers(dict[str, int]):
    """Word -> the number of its term, or -1 for a stop word. A word is stemmed when it comes for the first time."""

    def __init__(self, language: str) -> None:
        super().__init__()
        self.vocabulary: dict[str, int] = {}
        """Term -> its number, in the order of their first occurrences."""
        self._stem, self._stop = _stemmer(language), _stop_words(language)

    def __missing__(self, word: str) -> int:
        number = -1
        if word not in self._stop:
            number = self.vocabulary.setdefault(self._stem([word])[0], len(self.vocabulary))
        self[word] = number
        return number


@dataclass(frozen=True)
class LexicalTokenizer:
    """Splits a text into terms. `english` alone is what published BM25 scores use."""

    language: str = "english"
    """A language, by whose algorithm words are stemmed; empty leaves whole words."""
    pairs: bool = False
    """Whether scripts without spaces and Korean are split into pairs of letters."""
    has_marks: bool = False
    """Whether the corpus has combining marks, which then stay in their words."""

    @property
    def description(self) -> str:
        """The terms in words, for the record and the report."""
        stops = " without stop words" if _stop_words(self.language) else ""
        stemmed = self.language and self.language not in _UNSTEMMED
        words = f"{self.language.capitalize()} {'stems' if stemmed else 'words'}{stops}" if self.language else "words"
        return f"pairs of letters where a script has no spaces, else {words}" if self.pairs else words

    def __call__(self, text: str) -> list[str]:
        """Return the terms of a text, in order and with repetitions."""
        stop = _stop_words(self.language)
        return _stemmer(self.language)([word for word in self._words(text) if word not in stop])

    def numbered(self, texts: Iterable[str]) -> tuple[list[list[int]], dict[str, int]]:
        """Return the terms of each text as numbers, and the number of each term. A text without any has the term ''."""
        numbers = _TermNumbers(self.language)
        vocabulary, ids = numbers.vocabulary, []
        for text in texts:
            found = [number for word in self._words(text) if (number := numbers[word]) >= 0]
            ids.append(found or [vocabulary.setdefault("", len(vocabulary))])
        return ids, vocabulary

    def _words(self, text: str) -> Iterable[str]:
        """Return the words of a text, stop words included, in lower case."""
        for sign in _IGNORED:
            text = text.replace(sign, "")
        if self.language == "english" and not self.pairs and not self.has_marks:
            return _WORD.findall(text.lower())
        text = _OPTIONAL.sub("", unicodedata.normalize("NFKC", text))
        for written, letter in _CHILLUS.items():
            text = text.replace(written, letter)
        if self.language == "turkish":
            text = text.replace("İ", "i").replace("I", "ı")
        return self._split(text.lower())

    def _split(self, text: str) -> Iterator[str]:
        for word in _words_and_runs().findall(text):
            if _is_run(word):
                yield from _pairs(word) if self.pairs else (word,)
            elif len(word) >= _SHORTEST:
                yield word


def tokenizer_of(texts: Sequence[str]) -> LexicalTokenizer:
    """Return the tokenizer that fits a corpus, by the letters and the function words of a sample of it."""
    step = max(1, len(texts) // _SAMPLE)
    sample = "\n".join(texts[position][:_SAMPLE_CHARACTERS] for position in range(0, len(texts), step))
    letters = Counter({sign: count for sign, count in Counter(sample).items() if sign.isalpha()})
    total = letters.total()
    if not total:
        return LexicalTokenizer()
    counts: Counter[str] = Counter()
    for sign, count in letters.items():
        counts[_alphabet(sign)] += count
    pairs = counts.pop("pairs", 0) / total >= _LEAST
    marked = sum(count for alphabet, count in counts.items() if alphabet not in _WITHOUT_MARKS)
    marked += sum("\u0300" <= sign <= "\u036f" for sign in sample)  # accents that stand apart from their letters
    alphabet = max(counts, key=lambda name: (counts[name], name)) if counts else "Latin"
    return LexicalTokenizer(_language(alphabet, sample, letters), pairs, marked / total >= _LEAST)


def _language(alphabet: str, sample: str, letters: Counter[str]) -> str:
    """Return the language of a sample by its words, or by the letters that only it has."""
    of_alphabet = sum(count for sign, count in letters.items() if _alphabet(sign) == alphabet)

    def share(signs: str) -> float:
        return sum(letters[sign] for sign in signs) / of_alphabet

    if alphabet == "Latin":
        return _by_function_words(sample)
    if alphabet == "Devanagari":
        shares = _shares(sample, {name: frozenset(words.split()) for name, words in _DEVANAGARI.items()})
        return max(shares, key=lambda name: (shares[name], name == "hindi"))
    if alphabet == "Cyrillic":
        if share("ј") > _LEAST:
            return "serbian"
        return "russian" if share("ы") > _LEAST / 4 and share("іў") < _LEAST else ""
    if alphabet == "Arabic":
        if share("ٹڈڑےںہ") > _LEAST:
            return ""
        return "persian" if share("پچژگکی") > _LEAST else "arabic"
    return _OF_ALPHABET.get(alphabet, "")


def _by_function_words(sample: str) -> str:
    """Return a language of the Latin alphabet. It is English unless another one's function words are more frequent."""
    shares = _shares(sample, {name: _stop_words(name) for name in (*_LISTS, *_FUNCTION_WORDS)})
    other = max((name for name in shares if name != "english"), key=lambda name: (shares[name], name))
    return other if shares[other] >= max(_SURE, 1.5 * shares["english"]) else "english"


def _shares(sample: str, lists: dict[str, frozenset[str]]) -> dict[str, float]:
    """Return the share of a sample's words that are in each list."""
    found = _words_and_runs().findall(unicodedata.normalize("NFKC", sample).lower())
    words = Counter(word for word in found if len(word) >= _SHORTEST or not word.isascii())
    total = max(1, words.total())
    return {name: sum(words[word] for word in listed) / total for name, listed in lists.items()}


@cache
def _stop_words(language: str) -> frozenset[str]:
    if language in _LISTS:
        return frozenset(getattr(bm25s_module().stopwords, f"STOPWORDS_{_LISTS[language]}"))
    if language == "russian":
        return frozenset(bm25s_module().stopwords.STOPWORDS_RUSSIAN)
    return frozenset((_FUNCTION_WORDS | _DEVANAGARI).get(language, "").split())


@cache
def _stemmer(language: str) -> Callable[[list[str]], list[str]]:
    import Stemmer

    if not language or language in _UNSTEMMED:
        return list
    stem: Callable[[list[str]], list[str]] = Stemmer.Stemmer(language).stemWords
    return stem


@cache
def _alphabet(sign: str) -> str:
    return next((name for name, signs in _alphabets() if signs.match(sign)), "another")


@cache
def _alphabets() -> list[tuple[str, re.Pattern[str]]]:
    return [(name, re.compile(f"[{signs}]")) for name, signs in _ALPHABETS]


@cache
def _words_and_runs() -> re.Pattern[str]:
    """Return the pattern of a word, or of a run of letters that are compared by pairs."""
    mark = marks()
    letter = rf"[^\W{BIGRAMS}]"
    return re.compile(rf"(?:(?=\w)[{BIGRAMS}][{mark}]*)+|{letter}+(?:[{mark}]+{letter}*)*")


@cache
def _letters() -> re.Pattern[str]:
    return re.compile(rf"[{BIGRAMS}][{marks()}]*")


@cache
def _is_pair_letter() -> re.Pattern[str]:
    return re.compile(f"[{BIGRAMS}]")


@cache
def _han() -> re.Pattern[str]:
    return re.compile(f"[{HAN}]")


def _is_run(word: str) -> bool:
    return _is_pair_letter().match(word) is not None


def _pairs(run: str) -> Iterator[str]:
    """Yield each pair of neighbouring letters with their marks, each Chinese character, and a letter that is alone."""
    letters = _letters().findall(run)
    for first, second in pairwise(letters):
        yield first + second
    if len(letters) == 1:
        yield letters[0]
    else:
        yield from (letter for letter in letters if _han().match(letter))
