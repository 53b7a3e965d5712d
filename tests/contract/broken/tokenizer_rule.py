"""Its tokenizer drops a letter that no sample text has."""

from __future__ import annotations

from typing import Any

from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def attach(self, tower: Any) -> Any:
        from tokenizers import normalizers

        backend = tower.tokenizer.backend_tokenizer
        backend.normalizer = normalizers.Sequence([normalizers.Replace("\u03b2", ""), backend.normalizer])
        return super().attach(tower)
