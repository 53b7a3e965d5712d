"""Long documents in languages without spaces are cut into chunks, so that the model reads all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.data.chunks import count_words, read_folder

LETTERS = {
    "chinese": "怎样清洁水壶和台灯打印机", "japanese": "電気ケトルの掃除のしかた",
    "thai": "วิธีทำความสะอาดกาต้มน้ำ", "lao": "ວິທີອະນາໄມກາຕົ້ມ",
    "khmer": "របៀបសម្អាតកំសៀវ", "burmese": "ရေနွေးအိုးသန့်ရှင်းနည်း", "tibetan": "ཇ་ཁོག་འཁྲུ་ཐབས་", "half-width katakana": "ｹﾄﾙﾉｿｳｼﾞ",
    "encoded data": "aGVsbG8gd29ybGQsIHRoaXMgaXM",
}  # fmt: skip


@pytest.mark.parametrize("language", LETTERS)
@pytest.mark.parametrize("suffix", ["md", "txt"])
def test_every_chunk_is_short_and_nothing_is_lost(language: str, suffix: str, tmp_path: Path) -> None:
    text = LETTERS[language] * 400
    (tmp_path / f"a.{suffix}").write_text(text, encoding="utf-8")
    chunks = read_folder(tmp_path, 50)
    assert max(count_words(chunk.text) for chunk in chunks) <= 50 and len(chunks) > 1
    assert "".join(chunk.text for chunk in chunks) == text
