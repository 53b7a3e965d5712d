"""Shared fixtures: tiny random models of six families, a tiny dataset, resources. Nothing is downloaded.

The models have two blocks of width 32 and 64 positions. Their weights have a standard deviation of 0.2, so that
attention is far from uniform. Their tokenisers are trained on the spot. Each family keeps its own traps: RoBERTa, XLM-R
and MPNet count positions from the padding id + 1, and ModernBERT has a sliding window of 8 tokens to each side in every
second block.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from bench.data.dataset import Dataset, TrainingData
from bench.data.sample import sample_dataset, sample_training

if TYPE_CHECKING:
    from bench.contract.subprocess_reload import ReloadProcess
    from bench.models.base import BaseModel
    from bench.strategy.resources import Resources

MODEL_FAMILIES = ("bert", "roberta", "mpnet", "distilbert", "modernbert", "xlm-roberta")
LARGER_FAMILIES = ("qwen3", "qwen2", "mistral", "llama", "t5", "t5-gated", "mt5-gated")
"""Decoders and T5 encoders. They have an end token, no table of positions, and decoders pad on the left."""
WIDTH = 32
BLOCKS = 2
MAX_LENGTH = 64
_BERT_SPECIALS = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
_ROBERTA_SPECIALS = {"cls_token": "<s>", "pad_token": "<pad>", "sep_token": "</s>", "unk_token": "<unk>"}


def _tokenizer(family: str, texts: list[str]) -> Any:
    """Train a WordPiece tokeniser of 300 tokens at most; ids of special tokens follow the order of the family's own."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    if family in LARGER_FAMILIES:
        return _tokenizer_with_end(family, texts)
    specials = _ROBERTA_SPECIALS if family in ("roberta", "xlm-roberta", "mpnet") else _BERT_SPECIALS
    tokenizer = Tokenizer(models.WordPiece(unk_token=specials["unk_token"]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=list(specials.values()), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    cls, sep = specials["cls_token"], specials["sep_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=f"{cls} $A {sep} $B:1 {sep}:1",
        special_tokens=[(cls, tokenizer.token_to_id(cls)), (sep, tokenizer.token_to_id(sep))],
    )
    names = ["input_ids", "token_type_ids", "attention_mask"] if family == "bert" else ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=MAX_LENGTH, model_input_names=names, **specials
    )


def _tokenizer_with_end(family: str, texts: list[str]) -> Any:
    """Train a tokeniser that puts one token behind a text and none before it, as those of Qwen3-Embedding and T5 do."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    specials = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer = Tokenizer(models.WordPiece(unk_token=specials["unk_token"]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=list(specials.values()), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    end = specials["eos_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {end}", pair=f"$A $B {end}", special_tokens=[(end, tokenizer.token_to_id(end))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=MAX_LENGTH,
        model_input_names=["input_ids", "attention_mask"],
        padding_side="right" if "t5" in family else "left",
        **specials,
    )


def _larger(family: str, vocabulary: int, pad: int) -> Any:
    """Build a random decoder with two heads to a key, or the encoder of a random T5."""
    from transformers import AutoConfig, AutoModel, MT5EncoderModel, T5EncoderModel

    if "t5" in family:
        config = AutoConfig.for_model(
            family.removesuffix("-gated"), vocab_size=vocabulary, pad_token_id=pad, d_model=WIDTH, num_layers=BLOCKS,
            num_heads=4, d_kv=12, d_ff=48, feed_forward_proj="gated-gelu" if "gated" in family else "relu",
            initializer_factor=4.0,
        )  # fmt: skip
        return (MT5EncoderModel if family.startswith("mt5") else T5EncoderModel)(config)
    config = AutoConfig.for_model(
        family, vocab_size=vocabulary, pad_token_id=pad, bos_token_id=None, eos_token_id=1, hidden_size=WIDTH,
        num_hidden_layers=BLOCKS, num_attention_heads=4, num_key_value_heads=2, intermediate_size=48,
        initializer_range=0.2, max_position_embeddings=MAX_LENGTH, **({} if family == "qwen2" else {"head_dim": 12}),
    )  # fmt: skip
    return AutoModel.from_config(config)


def _transformer(family: str, vocabulary: int, pad: int) -> Any:
    """Build a random transformer of a family."""
    from transformers import AutoConfig, AutoModel

    if family in LARGER_FAMILIES:
        return _larger(family, vocabulary, pad)
    offset = 2 if family in ("roberta", "xlm-roberta", "mpnet") else 0
    wide: dict[str, Any] = {
        "hidden_size": WIDTH, "num_hidden_layers": BLOCKS, "num_attention_heads": 4, "intermediate_size": 48,
        "initializer_range": 0.2, "max_position_embeddings": MAX_LENGTH + offset,
    }  # fmt: skip
    options: dict[str, dict[str, Any]] = {
        "bert": wide,
        "roberta": {**wide, "type_vocab_size": 1},
        "xlm-roberta": {**wide, "type_vocab_size": 1},
        "mpnet": wide,
        "distilbert": {
            "dim": WIDTH, "n_layers": BLOCKS, "n_heads": 4, "hidden_dim": 48, "initializer_range": 0.2,
            "max_position_embeddings": MAX_LENGTH,
        },
        "modernbert": {
            **wide, "local_attention": 16, "global_attn_every_n_layers": 2, "cls_token_id": 2, "sep_token_id": 3,
        },
    }  # fmt: skip
    config = AutoConfig.for_model(
        family, vocab_size=vocabulary, pad_token_id=pad, bos_token_id=None, eos_token_id=None, **options[family]
    )
    return AutoModel.from_config(config)


def build_model(family: str, folder: Path, pooling: str = "") -> Path:
    """Save a tiny random sentence-transformers model of a family into `folder` and return it.

    It pools as its kind does. A decoder has an instruction for queries, a T5 encoder a `Dense` module.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    dataset = sample_dataset()
    torch.manual_seed(7)
    tokenizer = _tokenizer(family, [*dataset.corpus.texts, *dataset.queries.values()])
    plain = folder.with_name(f"{folder.name}-plain")
    _transformer(family, len(tokenizer), tokenizer.pad_token_id).save_pretrained(plain)
    tokenizer.save_pretrained(plain)
    transformer = Transformer(str(plain), max_seq_length=MAX_LENGTH)
    is_decoder = tokenizer.padding_side == "left"
    pool = Pooling(WIDTH, pooling_mode=pooling or ("lasttoken" if is_decoder else "mean"))
    dense = [Dense(WIDTH, 24, bias=False, activation_function=torch.nn.Identity())] if "t5" in family else []
    prompts = {"query": "find the text: ", "document": ""} if is_decoder else None
    model = SentenceTransformer(modules=[transformer, pool, *dense, Normalize()], device="cpu", prompts=prompts)
    model.save(str(folder), create_model_card=False)
    return folder


@pytest.fixture(scope="session")
def load_script() -> Callable[[str], ModuleType]:
    """Return a function that loads a script outside the packages, such as `benchmarks/pool.py`, as a module."""

    def load(path: str) -> ModuleType:
        script = Path(__file__).resolve().parents[1] / path
        name = f"script_{script.stem}"
        spec = importlib.util.spec_from_file_location(name, script)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function from a family to the folder of its tiny model, built once a session."""
    root = tmp_path_factory.mktemp("models")

    def folder(family: str) -> Path:
        path = root / f"tiny-{family}"
        return path if path.exists() else build_model(family, path)

    return folder


@pytest.fixture(scope="session")
def tiny_base(tiny_folder: Callable[[str], Path]) -> Callable[[str], BaseModel]:
    """Return a function from a family to its tiny `BaseModel`."""
    from bench.models.locate import base_model

    return lambda family: base_model(str(tiny_folder(family)))


@pytest.fixture(params=MODEL_FAMILIES)
def family_name(request: pytest.FixtureRequest) -> str:
    """Each of the six families in turn."""
    return str(request.param)


@pytest.fixture
def tiny_model(tiny_base: Callable[[str], BaseModel], family_name: str) -> BaseModel:
    """The tiny model of each family in turn."""
    return tiny_base(family_name)


@pytest.fixture
def tiny_bert(tiny_base: Callable[[str], BaseModel]) -> BaseModel:
    """The tiny BERT."""
    return tiny_base("bert")


@pytest.fixture
def tiny_resources(tmp_path: Path) -> Callable[..., Resources]:
    """Return a function that makes resources for a model: fp32, batches of 8, no vector cache."""
    from bench.strategy.resources import Resources
    from bench.strategy.settings import TrainingSettings
    from bench.training.selection import DevelopmentPools

    def resources(model: BaseModel, **training: Any) -> Resources:
        settings = TrainingSettings(**{"batch_size": 8, "precision": "fp32", **training})
        return Resources(model=model, training=settings, scratch=tmp_path, pools=DevelopmentPools())

    return resources


@pytest.fixture(scope="session")
def reload_process() -> Iterator[ReloadProcess]:
    """The process in which the contract loads what it saved; starting one takes seconds."""
    from bench.contract.subprocess_reload import ReloadProcess

    with ReloadProcess() as process:
        yield process


@pytest.fixture(scope="session")
def tiny_dataset() -> Dataset:
    """Forty-eight documents on eight subjects, with train, dev and test queries."""
    return sample_dataset()


@pytest.fixture(scope="session")
def tiny_training() -> TrainingData:
    """The part of `tiny_dataset` that a strategy's `fit` may see."""
    return sample_training()


@pytest.fixture
def beir_folder(tmp_path: Path, tiny_dataset: Dataset) -> Path:
    """`tiny_dataset` as a folder in BEIR's layout, fresh for each test."""
    return write_beir(tiny_dataset, tmp_path / "tiny")


def write_beir(dataset: Dataset, folder: Path) -> Path:
    """Write a dataset in BEIR's layout and return the folder."""
    (folder / "qrels").mkdir(parents=True)
    documents = zip(dataset.corpus.ids, dataset.corpus.texts, strict=True)
    corpus = [json.dumps({"_id": doc, "title": "", "text": text}) for doc, text in documents]
    queries = [json.dumps({"_id": query, "text": text}) for query, text in dataset.queries.items()]
    (folder / "corpus.jsonl").write_text("\n".join(corpus) + "\n", encoding="utf-8")
    (folder / "queries.jsonl").write_text("\n".join(queries) + "\n", encoding="utf-8")
    for split, qrels in dataset.splits.items():
        rows = [f"{query}\t{doc}\t{grade}" for query, docs in qrels.items() for doc, grade in docs.items()]
        text = "\n".join(["query-id\tcorpus-id\tscore", *rows]) + "\n"
        (folder / "qrels" / f"{split}.tsv").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def narrow_console(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set consoles of 80 columns. They are made again before and after, because they read the width once."""
    from bench.commands._console import console, err_console

    monkeypatch.setenv("COLUMNS", "80")
    for each in (console, err_console):
        each.cache_clear()
    yield
    for each in (console, err_console):
        each.cache_clear()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless Chromium; skips without one. A process can hold one, so tests share it."""

    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    program = next((path for path in found if path), None)
    if program is None:
        pytest.skip("no Chromium here")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, chromium_sandbox=False)
        yield browser
        browser.close()
