"""Lets the tokenizer leave out the special tokens."""

from __future__ import annotations

from typing import Any

from tokenizers.processors import TemplateProcessing

from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def attach(self, tower: Any) -> Any:
        tower.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="$A", pair="$A $B:1")
        return super().attach(tower)
