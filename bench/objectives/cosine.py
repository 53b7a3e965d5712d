"""CoSENT: positives rank above negatives across the whole batch (Huang et al., 2024)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.objectives.base import Objective

if TYPE_CHECKING:
    import torch

    from bench.training.score_loss import ScoredBatch


class Cosine(Objective):
    """Each pair of higher grade scores above each pair of lower grade, of other queries too.

    A labelled pair has grade 1. Its query has grade 0 with its mined negatives where it has some, else with the other
    documents of the batch. Examples with scores of their own are graded by these.
    """

    name = "cosine"
    summary = "CoSENT: relevant pairs rank above irrelevant pairs across all queries of a batch"

    def loss(self, batch: ScoredBatch) -> torch.Tensor:
        """Return log(1 + the sum of exp((lower - higher) / temperature) over all misordered comparisons)."""
        import torch

        scores = batch.own_scores() if len(batch.documents) > 1 else batch.all_scores()
        if batch.labels is not None:
            grades = batch.labels.to(scores.device)
        elif len(batch.documents) > 1:
            grades = torch.zeros_like(scores)
            grades[:, 0] = 1.0
        else:
            grades = torch.eye(len(scores), device=scores.device)
        logits, flat = scores.float().flatten() / batch.temperature, grades.flatten()
        terms = [logits.new_zeros(())]
        for grade in flat.unique()[1:]:  # the sum over pairs of one grade and all lower ones is a product of two sums
            terms.append(torch.logsumexp(logits[flat < grade], 0) + torch.logsumexp(-logits[flat == grade], 0))
        return torch.logsumexp(torch.stack(terms), 0)
