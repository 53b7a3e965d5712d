"""`Preset`: a well-known combination under a name of its own."""

from __future__ import annotations

from typing import ClassVar


class Preset:
    """A name for a strategy with some options: `query-lora` for `lora(representation=query-side)`.

    A preset and the expression that it stands for are one and the same strategy: nothing is fitted twice. Further
    options go into the preset's own parentheses: `query-lora(r=8)`.
    """

    name: ClassVar[str]
    summary: ClassVar[str] = ""
    """One line for `bench list strategies`."""
    expression: ClassVar[str]
    """A strategy with options and no components."""
    required: ClassVar[tuple[str, ...]] = ()
    """Options that the user gives and that have no default: `t-few(sources=scifact)`."""
