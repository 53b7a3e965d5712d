"""Plain sentence-transformers models of fitted strategies: weights folded, heads as library modules."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from bench.errors import NotApplicableError
from bench.models.architectures import plain_name
from bench.models.length import length_limit
from bench.strategy.resources import Resources

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

    from bench.retrieval.encode import Kind

_NAMED = 3


def plain_encoder(
    resources: Resources, model: SentenceTransformer, name: str, *, foldable: bool
) -> SentenceTransformer:
    """Return a fresh base model with the weights of an adapted model, whose attachment is folded into them.

    Args:
        resources: the base model, and the length that texts are cut to.
        model: the adapted model, folded. Modules behind those of the base model belong to its representation, and are
            left out.
        name: of the strategy, for messages.
        foldable: whether the method folds its attachment.

    Raises:
        NotApplicableError: something was added that cannot be folded into the base model's own weights.
    """
    import torch

    base = plain_base(resources)
    own = base.state_dict()
    added = [
        parameter_name
        for parameter_name, parameter in model.named_parameters()
        if parameter.requires_grad and _place(parameter_name) < len(base) and plain_name(parameter_name) not in own
    ]
    if added and not foldable:
        some = ", ".join(added[:_NAMED]) + (" ..." if len(added) > _NAMED else "")
        raise NotApplicableError(
            f"{name} adds modules to the transformer that cannot be folded into its weights ({some}), and a "
            "plain sentence-transformers folder has no place for them"
        )
    folded = {plain_name(parameter_name): tensor for parameter_name, tensor in model.state_dict().items()}
    if lost := sorted(own.keys() - folded.keys()):
        raise NotApplicableError(f"{name} replaced parts of the transformer: {', '.join(lost[:_NAMED])} is gone")
    with torch.no_grad():
        for parameter_name, tensor in own.items():
            tensor.copy_(folded[parameter_name])
    return base


def _place(parameter_name: str) -> int:
    """Return the place of a parameter's module in its model."""
    return int(parameter_name.partition(".")[0])


def require_full_weights(resources: Resources, name: str) -> None:
    """Refuse to make a plain model of one whose base weights are 4-bit codes.

    Raises:
        NotApplicableError: they are.
    """
    if resources.model.weights != "fp32":
        raise NotApplicableError(
            f"{name} was fitted around base weights in {resources.model.weights}, and a plain model holds whole "
            "weights, whose scores would differ: fit it with --base-weights fp32 to take it out"
        )


def plain_base(resources: Resources) -> SentenceTransformer:
    """Return a fresh base model that cuts texts where the strategies cut them.

    Raises:
        NotApplicableError: its weights are 4-bit codes.
    """
    require_full_weights(resources, resources.model.name)
    base = resources.model.load("cpu")
    if resources.max_length is not None and length_limit(base) is not None:
        base.max_seq_length = min(resources.max_length, base.max_seq_length or resources.max_length)
    return base


def with_affine_head(
    resources: Resources, name: str, head: Callable[[torch.Tensor], torch.Tensor], sides: Collection[Kind]
) -> SentenceTransformer:
    """Return the base model followed by an affine map of its vectors, as the library's own modules.

    Args:
        resources: the base model, and the length that texts are cut to.
        name: of the strategy, for messages.
        head: maps vectors (n, d) to (n, k).
        sides: whose vectors it maps. With one side, the other side gets a route of its own.

    Raises:
        NotApplicableError: the head is not an affine map, and so not a `Dense` module.
    """
    import torch
    from sentence_transformers.base.modules import Dense, Normalize, Router
    from sentence_transformers.sentence_transformer.modules import Dropout

    base = plain_base(resources)
    if base.truncate_dim is not None:
        raise NotApplicableError(f"{name} maps truncated vectors, which no plain sentence-transformers model can do")
    dimension = resources.encoder.dimension
    weight, bias = _affine(head, dimension, name)
    dense = Dense(dimension, len(weight), activation_function=torch.nn.Identity(), init_weight=weight, init_bias=bias)
    unit = [Normalize()] if (base.similarity_fn_name or "cosine") == "cosine" else []
    if unit and not isinstance(base[-1], Normalize):
        base.append(Normalize())
    if set(sides) == {"query", "document"}:
        for module in (dense, *unit):
            base.append(module)
        return base.eval()
    untouched = unit or [Dropout(0.0)]  # a route needs a module; neither changes a vector
    routes = {side: [dense, *unit] if side in sides else untouched for side in ("query", "document")}
    base.append(Router(routes, default_route="document"))
    return base.eval()


def _affine(
    head: Callable[[torch.Tensor], torch.Tensor], dimension: int, name: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight (k, d) and bias (k,) of a head, read from its output on the axes and checked on other vectors."""
    import torch

    with torch.no_grad():
        bias = head(torch.zeros(1, dimension))[0]
        weight = (head(torch.eye(dimension)) - bias).T.contiguous()
        others = torch.randn(8, dimension, generator=torch.Generator().manual_seed(0))
        if not torch.allclose(head(others), others @ weight.T + bias, atol=1e-4, rtol=1e-4):
            raise NotApplicableError(f"{name}'s head is not an affine map, so no Dense module can stand for it")
    return weight, bias
