"""A damaged, full or read-only vector cache changes no vector; an altered model or strategy never meets old ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.errors import BenchError
from bench.models.base import BaseModel
from bench.planning.build import build, config_of
from bench.planning.registry import Registry
from bench.retrieval.cache import SUFFIX, VectorCache, VectorSpace
from bench.retrieval.encode import Encoder
from bench.strategy.resources import Resources

Contexts = Callable[..., Resources]
TEXTS = ["bread and salt", "a river", "the tools with which gardens are kept in order", "salt"]
KEYS = [bytes([n]) * 16 for n in range(3)]
VECTORS = np.arange(12, dtype=np.float32).reshape(3, 4)


def segments(folder: Path) -> list[Path]:
    return sorted(folder.rglob(f"*{SUFFIX}"))


def filled(folder: Path) -> Path:
    VectorCache(folder).space("w").put(KEYS, VECTORS, 1.5)
    (segment,) = segments(folder)
    return segment


def read(folder: Path, notes: list[str]) -> tuple[np.ndarray, list[int]]:
    out = np.full((3, 4), -1, dtype=np.float32)
    space = VectorCache(folder).space("w", note=notes.append)
    missing, _ = space.get(KEYS, out)
    return out, missing


def test_a_flipped_bit_anywhere_in_a_segment_is_never_served(tmp_path: Path) -> None:
    segment = filled(tmp_path)
    whole = segment.read_bytes()
    for bit in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        segment.write_bytes(damaged)
        notes: list[str] = []
        out, missing = read(tmp_path, notes)
        # A segment whose keys alone are damaged holds nothing under the right key, and so nothing is served from it.
        assert missing == [0, 1, 2], bit
        assert (out == -1).all()
        assert notes or not segment.exists()
    segment.write_bytes(whole)
    assert read(tmp_path, [])[1] == []


@pytest.mark.parametrize(
    "content", [b"", b"\x93NUMPY\x01\x00v\x00{'descr': '<f4", b"PK\x03\x04", b"(((((", b"\xff" * 64]
)
def test_a_file_that_is_no_segment_is_dropped_with_a_note(tmp_path: Path, content: bytes) -> None:
    segment = filled(tmp_path)
    segment.write_bytes(content)
    notes: list[str] = []
    assert read(tmp_path, notes)[1] == [0, 1, 2]
    assert len(notes) == 1
    assert "damaged segment" in notes[0]
    assert not segment.exists()


def test_a_segment_that_is_cut_at_any_place_is_dropped(tmp_path: Path) -> None:
    segment = filled(tmp_path)
    whole = segment.read_bytes()
    for length in range(len(whole)):
        segment.write_bytes(whole[:length])
        assert read(tmp_path, [])[1] == [0, 1, 2]


def test_damage_gives_the_same_vectors_and_a_note(
    tiny_bert: BaseModel, tiny_resources: Contexts, tmp_path: Path
) -> None:
    events: list[tuple[str, dict[str, Any]]] = []
    resources = replace(tiny_resources(tiny_bert), cache=VectorCache(tmp_path / "cache"))
    vectors, _ = resources.encoder.documents(TEXTS)
    (segment,) = segments(tmp_path / "cache")
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 0x10
    segment.write_bytes(content)
    again = replace(resources, progress=lambda event, values: events.append((event, values)))
    np.testing.assert_array_equal(again.encoder.documents(TEXTS)[0], vectors)
    assert [values["text"] for event, values in events if event == "note"]
    np.testing.assert_array_equal(replace(resources).encoder.documents(TEXTS)[0], vectors)


def test_a_cache_that_cannot_be_written_is_a_note_and_no_failure(
    tiny_bert: BaseModel, tiny_resources: Contexts, tmp_path: Path
) -> None:
    place = tmp_path / "a file"
    place.write_text("where the cache's folder should be")
    events: list[str] = []
    resources = replace(
        tiny_resources(tiny_bert),
        cache=VectorCache(place),
        progress=lambda event, values: events.append(values["text"]) if event == "note" else None,
    )
    vectors, _ = resources.encoder.documents(TEXTS)
    resources.encoder.documents(TEXTS)
    np.testing.assert_allclose(vectors, tiny_resources(tiny_bert).encoder.documents(TEXTS)[0], atol=1e-6)
    assert len(events) == 1
    assert "cannot be stored" in events[0]


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> int:
        with path.open("wb") as stream:
            stream.write(content[:20])
        raise OSError(28, "No space left on device")

    notes: list[str] = []
    space = VectorCache(tmp_path).space("w", note=notes.append)
    monkeypatch.setattr(Path, "write_bytes", full)
    space.put(KEYS, VECTORS, 1.0)
    space.put(KEYS, VECTORS, 1.0)
    assert len(notes) == 1
    assert "No space left" in notes[0]
    assert list(space.folder.iterdir()) == []


def test_queries_and_documents_are_kept_apart_where_the_model_has_no_prompts(
    tiny_bert: BaseModel, tiny_resources: Contexts, tmp_path: Path
) -> None:
    encoder = replace(tiny_resources(tiny_bert), cache=VectorCache(tmp_path)).encoder
    encoder.documents(TEXTS)
    (space,) = list(tmp_path.iterdir())
    encoder.queries(TEXTS)
    assert len(list(tmp_path.iterdir())) == 2
    assert space.exists()


def test_exact_vectors_are_not_answered_from_rough_ones(
    tiny_bert: BaseModel, tiny_resources: Contexts, tmp_path: Path
) -> None:
    encoder = replace(tiny_resources(tiny_bert, precision="bf16"), cache=VectorCache(tmp_path)).encoder
    rough, _ = encoder.documents(TEXTS)
    with encoder.exactly():
        exact, _ = encoder.documents(TEXTS)
    assert not np.array_equal(rough, exact)


def add_to_a_weight(encoder: Encoder) -> None:
    with torch.no_grad():
        list(encoder.model.parameters())[-3].data.view(-1)[0] += 1.0


def swap_two_numbers(encoder: Encoder) -> None:
    with torch.no_grad():
        flat = next(encoder.model.parameters()).data.view(-1)
        flat[-2:] = flat[-2:].flip(0)


def hook(encoder: Encoder) -> None:
    encoder.model.register_forward_hook(lambda module, inputs, output: output)


def another_pooling(encoder: Encoder) -> None:
    from sentence_transformers.sentence_transformer.modules import Pooling

    encoder.model[1] = Pooling(32, pooling_mode="cls")


@pytest.mark.parametrize("alter", [add_to_a_weight, swap_two_numbers, hook, another_pooling])
def test_an_altered_model_neither_writes_nor_reads_the_cache_of_others(
    tiny_bert: BaseModel, tiny_resources: Contexts, tmp_path: Path, alter: Callable[[Encoder], None]
) -> None:
    notes: list[str] = []
    resources = replace(
        tiny_resources(tiny_bert),
        cache=VectorCache(tmp_path),
        progress=lambda event, values: notes.append(values["text"]) if event == "note" else None,
    )
    clean, _ = tiny_resources(tiny_bert).encoder.documents(TEXTS)
    resources.encoder.documents(TEXTS[:1])
    alter(resources.encoder)
    altered, _ = resources.encoder.documents(TEXTS)
    np.testing.assert_allclose(altered, resources.encoder.uncached(TEXTS, "document"), atol=1e-6)
    assert len(notes) == 1
    assert "altered" in notes[0]
    others, _ = replace(resources).encoder.documents(TEXTS)
    np.testing.assert_allclose(others, clean, atol=1e-6)


def test_an_unaltered_model_is_cached_whatever_was_done_with_it(
    tiny_bert: BaseModel, tiny_resources: Contexts, tmp_path: Path
) -> None:
    encoder = replace(tiny_resources(tiny_bert, precision="bf16"), cache=VectorCache(tmp_path)).encoder
    encoder.model.train()
    encoder.uncached(TEXTS, "query")
    with encoder.exactly():
        encoder.queries(TEXTS)
    encoder.documents(TEXTS)
    assert len(segments(tmp_path)) == 2


CODE = """
from bench.encoders.strategy import EncoderStrategy


class Shifted(EncoderStrategy):
    name = "shifted"

    def attach(self, tower):
        next(tower.parameters()).requires_grad_(True)
        return tower

    @property
    def encoder(self):
        return super().encoder

    shift = 1
"""


def digest_of(file: Path, resources: Resources, folder: Path) -> str:
    registry = Registry([file])
    strategy = build(registry.get("shifted"), config_of("shifted", {}, registry), registry, resources)
    folder.mkdir(exist_ok=True)
    if not list(folder.iterdir()):
        strategy.save(folder)
    strategy.load(folder)
    fingerprint = strategy.encoder.fingerprint  # type: ignore[attr-defined]
    assert isinstance(fingerprint, str)
    return fingerprint


def test_an_edit_to_a_strategy_file_gives_another_cache(
    tiny_bert: BaseModel, tiny_resources: Contexts, tmp_path: Path
) -> None:
    resources, file = tiny_resources(tiny_bert), tmp_path / "shifted.py"
    file.write_text(CODE)
    before = digest_of(file, resources, tmp_path / "artefact")
    assert digest_of(file, resources, tmp_path / "artefact") == before
    file.write_text(CODE.replace("shift = 1", "shift = 2"))
    assert digest_of(file, resources, tmp_path / "artefact") != before


def test_an_edit_to_a_file_that_a_strategy_file_imports_gives_another_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.strategy.code import code_digest, module_code

    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_helper.py").write_text("def scale():\n    return 1\n")
    file = tmp_path / "shifted.py"
    file.write_text("from own_helper import scale\n" + CODE)
    kind = Registry([file]).get("shifted")
    before = code_digest([kind])
    (tmp_path / "own_helper.py").write_text("def scale():\n    return 2\n")
    module_code.cache_clear()  # as another process finds it
    assert code_digest([kind]) != before


def test_a_class_named_by_its_module_has_its_code_in_the_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.planning.build import code_of

    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_module.py").write_text(CODE)
    registry = Registry()
    config = config_of("own_module:Shifted", {}, registry)
    assert code_of("own_module:Shifted", config, registry)
    assert code_of("lora", config_of("lora", {}, registry), registry) == ""


def test_a_space_of_damaged_segments_can_be_filled_again(tmp_path: Path) -> None:
    segment = filled(tmp_path)
    segment.write_bytes(segment.read_bytes()[:-1] + b"?")
    space: VectorSpace = VectorCache(tmp_path).space("w", note=lambda text: None)
    out = np.empty((3, 4), dtype=np.float32)
    assert space.get(KEYS, out)[0] == [0, 1, 2]
    space.put(KEYS, VECTORS, 1.0)
    assert space.get(KEYS, out)[0] == []
    np.testing.assert_array_equal(out, VECTORS)


def test_a_variable_sets_the_size_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_CACHE_GB", raising=False)
    assert VectorCache(tmp_path).max_bytes == 8 * 1024**3
    monkeypatch.setenv("BENCH_CACHE_GB", "0.5")
    assert VectorCache(tmp_path).max_bytes == 512 * 1024**2
    for wrong in ("much", "0", "nan", "inf"):
        monkeypatch.setenv("BENCH_CACHE_GB", wrong)
        with pytest.raises(BenchError, match=f"above 0, got '{wrong}'"):
            VectorCache(tmp_path)
