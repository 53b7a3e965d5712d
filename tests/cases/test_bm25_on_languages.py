"""BM25 on text without spaces, with combining marks, and in other languages than English."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.data.dataset import Corpus, Dataset
from bench.data.locate import load_dataset
from bench.evaluation.measures import evaluate
from bench.retrieval.lexical import build_lexical
from bench.retrieval.lexical_terms import LexicalTokenizer, english, tokenizer_of
from bench.store.store import Store
from tests.cases.conftest import shared

ENGLISH = ["How do I clean the kettle?", "An α-helix and 水 in the lamp's part", "Reset the router at once"]
LANGUAGES: dict[str, tuple[str, str, list[str], list[str]]] = {
    # language -> what its terms are called, a frame of questions, the things asked for, the frame of the documents
    "chinese": ("pairs of letters", "怎样清洁{}", ["水壶", "台灯", "打印机", "自行车"], ["想要清洁{}请先拔掉电源"]),
    "japanese": ("pairs of letters", "{}の掃除のしかた", ["電気ケトル", "車", "プリンター", "自転車"],
                 ["{}を掃除するには先に電源を切ります"]),
    "korean": ("pairs of letters", "{}를 청소하는 방법", ["주전자", "복사기", "자전거", "공유기"],
               ["먼저 전원을 끄고 {}의 뚜껑을 엽니다"]),
    "thai": ("pairs of letters", "วิธีทำความสะอาด{}", ["กาต้มน้ำ", "โคมไฟ", "เครื่องพิมพ์", "จักรยาน"],
             ["ก่อนทำความสะอาด{}ให้ถอดปลั๊กออก"]),
    "khmer": ("pairs of letters", "របៀបសម្អាត{}", ["កំសៀវ", "ចង្កៀង", "ម៉ាស៊ីន", "កង់"], ["ដើម្បីសម្អាត{}សូមបិទភ្លើង"]),
    "burmese": ("pairs of letters", "{}ကို သန့်ရှင်းနည်း", ["ရေနွေးအိုး", "မီးအိမ်", "စက်ဘီး", "တဲ"], ["ပထမဦးစွာ{}ကိုဖွင့်ပါ"]),
    "lao": ("pairs of letters", "ວິທີອະນາໄມ{}", ["ກາຕົ້ມນ້ຳ", "ໂຄມໄຟ", "ລົດຖີບ", "ເຕັນ"], ["ກ່ອນອະນາໄມ{}ໃຫ້ປິດໄຟ"]),
    "hindi": ("Hindi stems", "{} कैसे साफ़ करें", ["केतली", "दीपक", "मशीन", "साइकिल"], ["{} को साफ़ करने के लिए बिजली बंद करें"]),
    "bengali": ("words", "{} কীভাবে পরিষ্কার করবেন", ["কেটলি", "বাতি", "সাইকেল", "তাঁবু"], ["প্রথমে {} বন্ধ করুন এবং খুলুন"]),
    "tamil": ("Tamil stems", "{} எப்படி சுத்தம் செய்வது", ["கெண்டி", "விளக்கு", "மிதிவண்டி", "கூடாரம்"],
              ["முதலில் {} மின்சாரத்தை அணைக்கவும்"]),
    "arabic": ("Arabic stems", "كيف أنظف {}", ["الغلاية", "المصباح", "الدراجة", "الخيمة"],
               ["أولا افصل {} ثم افتح الغطاء"]),
    "hebrew": ("words", "איך מנקים {}", ["קומקום", "מנורה", "אופניים", "אוהל"], ["קודם מנתקים {} מהחשמל ופותחים"]),
    "russian": ("Russian stems", "как почистить {}", ["чайник", "лампу", "палатку", "принтер"],
                ["Чтобы почистить {}, сначала выключите питание и откройте крышку"]),
    "german": ("German stems", "wie reinigt man {}", ["Wasserkocher", "Lampen", "Fahrräder", "Zelte"],
               ["Zuerst den Strom abschalten, und dann {} mit einem Tuch reinigen, das nicht nass ist"]),
    "turkish": ("Turkish stems", "{} nasıl temizlenir", ["ısıtıcı", "LAMBA", "İNCİR", "çadır"],
                ["{} için önce bu kapak açılır ve sonra ne kadar kirli ise o kadar silinir"]),
}  # fmt: skip


def corpus_of(texts: list[str]) -> Corpus:
    return Corpus([f"d{n}" for n in range(len(texts))], texts)


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_question_finds_its_document(language: str) -> None:
    terms, question, things, frames = LANGUAGES[language]
    index = build_lexical(corpus_of([frame.format(thing) for frame in frames for thing in things]))
    assert index.tokenize.description.startswith(terms)
    queries = {f"d{n}": question.format(thing) for n, thing in enumerate(things)}
    assert {query: hits[0][0] for query, hits in index.search(queries, 3).hits.items()} == {q: q for q in queries}
    assert index.unmatched(queries) == 0


@pytest.mark.parametrize("language", [path.name for root in shared("bm25-languages") for path in root.iterdir()])
def test_shared_examples_are_searched(language: str) -> None:
    dataset = load_dataset(str(shared("bm25-languages")[0] / language))
    assert isinstance(dataset, Dataset)
    queries = {query: dataset.queries[query] for query in dataset.judged("test")}
    ranking = build_lexical(dataset.corpus).search(queries, 10)
    assert evaluate(ranking, dataset.qrels("test"), ("ndcg@10",)).means()["ndcg@10"] == 1.0


def test_english_terms_are_what_they_were() -> None:
    """Single letters of other scripts and decomposed accents are in English corpora too, and change nothing."""
    assert (
        tokenizer_of([*ENGLISH, "Unplug the kettle, and clean the lamp before you reset the router."])
        == LexicalTokenizer()
    )
    assert [LexicalTokenizer()(text) for text in ENGLISH] == [english(text) for text in ENGLISH]
    assert english("The runners are RUNNING: cafe\u0301s in 水壶!") == ["runner", "run", "cafe", "水壶"]


@pytest.mark.parametrize(
    "tokenizer", [LexicalTokenizer(), LexicalTokenizer("russian"), LexicalTokenizer("", pairs=True)]
)
def test_numbered_terms_are_the_terms_of_each_text(tokenizer: LexicalTokenizer) -> None:
    texts = [*ENGLISH, "the", "", "Чайники и чайник, чайники", "清洁水壶 kettles and kettle"]
    ids, vocabulary = tokenizer.numbered(texts)
    terms = {number: term for term, number in vocabulary.items()}
    assert sorted(terms) == list(range(len(vocabulary)))
    assert [[terms[number] for number in each] for each in ids] == [tokenizer(text) or [""] for text in texts]


def test_marks_stay_in_their_words_and_their_form_does_not_count() -> None:
    terms = LexicalTokenizer("", has_marks=True)
    assert terms("केतली को") == ["केतली", "को"]
    assert terms("cafe\u0301") == terms("caf\u00e9")


def test_a_chinese_character_alone_is_found() -> None:
    index = build_lexical(corpus_of(["喝茶对身体好", "想要清洁水壶"]))
    assert [doc for doc, _ in index.search({"q": "茶"}, 10)["q"]] == ["d0"]


def test_a_corpus_in_two_scripts_has_terms_of_both() -> None:
    index = build_lexical(corpus_of(["茶壶 kettles are cleaned", "自行车 bicycles are repaired"]))
    assert [doc for doc, _ in index.search({"q": "cleaning 茶"}, 10)["q"]] == ["d0"]
    assert [doc for doc, _ in index.search({"q": "repair"}, 10)["q"]] == ["d1"]


@pytest.mark.parametrize("language", ["hindi", "chinese"])
def test_the_record_and_the_report_name_the_terms(
    language: str, make_dataset: Callable[..., Path], run_bm25: Callable[..., int], tmp_path: Path
) -> None:
    terms, question, things, frames = LANGUAGES[language]
    folder = make_dataset([frames[0].format(thing) for thing in things], [question.format(thing) for thing in things])
    assert run_bm25(folder) == 0
    (cell,) = Store(tmp_path / "out").results()
    assert cell.metrics["ndcg@10"] == 1.0
    assert any(note.startswith(f"BM25 compares {terms}") for note in cell.notes)
    assert f"BM25 compares {terms}" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


def test_queries_of_another_language_give_a_warning_and_no_verdict(
    make_dataset: Callable[..., Path], run_bm25: Callable[..., int], tmp_path: Path, capsys: Any
) -> None:
    things = ["kettle", "lamp", "printer", "bicycle"]
    questions = ["怎样清洁水壶", "怎样清洁台灯", "怎样清洁打印机", "how to clean a bicycle"]
    folder = make_dataset([f"To clean the {thing}, unplug it first." for thing in things], questions)
    assert run_bm25(folder) == 0
    (cell,) = Store(tmp_path / "out").results()
    assert cell.status == "not_applicable" and not cell.metrics
    assert "3 of 4 queries share no term with any document" in cell.reason
    capsys.readouterr()
    assert main(["inspect", str(folder), "--no-model", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert any("3 of 4 queries share no term" in warning for warning in facts["warnings"])
    assert "English stems" in facts["lexical_terms"]


SPELLINGS: dict[str, tuple[list[str], str]] = {
    "Hebrew vowel signs": (["\u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd לָעוֹלָם", "קומקום חשמלי"], "שלום"),
    "Arabic vowel signs": (["كَيْفَ تُنَظِّفُ الغَلَّايَة", "إصلاح الدراجة"], "الغلاية"),
    "Urdu vowel signs": (["کیتلی صَاف کریں ہے", "چراغ ٹھیک ہے"], "صاف"),
    "Malayalam final consonants": (["അവന്\u200d വന്നു", "അവൾ പോയി"], "അവൻ"),
    "accents apart": (["the cafe\u0301 is open", "a lamp shop"], "café"),
    "Vietnamese apart": ([unicodedata.normalize("NFD", "ấm đun nước sạch"), "đèn bàn"], "nước"),
    "soft hyphens": (["clean the ket\u00adtle", "the lamp"], "kettle"),
    "a byte-order mark": (["the ket\ufefftle", "the lamp"], "kettle"),
    "letters of half width": (["ﾌﾟﾘﾝﾀｰの掃除", "ケトルの掃除"], "プリンター"),
    "jamo apart": ([unicodedata.normalize("NFD", "주전자 청소"), "자전거 수리"], "주전자"),
    "Georgian capitals": (["ნათურის შეცვლა", "ჩაიდნის გაწმენდა"], "ᲜᲐᲗᲣᲠᲘᲡ"),
    "Greek accents": (["Πώς καθαρίζω τον βραστήρα", "λάμπα"], "ΒΡΑΣΤΗΡΑ"),
}


@pytest.mark.parametrize("kind", SPELLINGS)
def test_two_spellings_of_a_word_meet(kind: str) -> None:
    texts, query = SPELLINGS[kind]
    ranking = build_lexical(corpus_of(texts)).search({"q": query}, 2)
    assert [doc for doc, _ in ranking["q"]][:1] == ["d0"]


@pytest.mark.parametrize("texts", [
    ["C++ templates", "C# generics"], ["language R", "language C"], ["for i in e: a.l(o)", "if i: o = e"],
    ["a b c d e", "i o l"], ["x = e * i + o", "let a = l"],
])  # fmt: skip
def test_single_letters_are_no_words_of_a_language(texts: list[str]) -> None:
    assert tokenizer_of(texts).language == "english"
