"""The composite around the frozen model: what a composite is without the adaptation of its components.

`hybrid(lora)` gains from the fusion and from LoRA. `hybrid(frozen)` gains from the fusion alone.
"""

from __future__ import annotations

from collections.abc import Callable

from bench.config.schema import BASELINE
from bench.expression import Expression


def around_frozen(
    expression: Expression,
    is_composite: Callable[[Expression], bool],
    is_adapted: Callable[[Expression], bool],
    names_model: Callable[[Expression], bool],
) -> Expression | None:
    """Return a composite with `frozen` in place of every adapted component; None where nothing would change.

    Components of components are replaced too: `rerank(hybrid(lora))` gives `rerank(hybrid(frozen))`. A component keeps
    the base model that it names. One that is not adapted stays, such as `run:FILE`.

    Args:
        expression: the composite, in canonical form.
        is_composite: whether an expression combines the rankings of components.
        is_adapted: whether an expression is fitted to the domain.
        names_model: whether its argument is a base model, as in `lora(NAME)`.
    """
    if not is_composite(expression):
        return None

    def replaced(component: Expression) -> Expression:
        if is_composite(component):
            return around_frozen(component, is_composite, is_adapted, names_model) or component
        if not is_adapted(component):
            return component
        return Expression(BASELINE, component.arguments if names_model(component) else ())

    arguments = tuple(map(replaced, expression.arguments))
    return None if arguments == expression.arguments else Expression(expression.name, arguments, expression.options)
