"""Generative pseudo-labelling (GPL): a teacher's margins on queries that a language model wrote (Wang et al., 2022).

The paper has three steps (section 3): generate queries for passages, mine negatives with dense retrievers, and learn
the margins of a cross-encoder by margin-MSE. `bench import --generate-queries` is the first one.
"""

from __future__ import annotations

from bench.objectives.margin_mse import MarginMSE


class GPL(MarginMSE):
    """Margin-MSE on generated queries. It needs no labels.

    Candidates come from the first 50 documents of the teacher, or of the student where a cross-encoder teaches. The
    paper mines with two other retrievers, and draws one negative for each query and step; here `candidates` are drawn
    once. A teacher that is a strategy is fitted on the generated queries too, so that no label reaches it.
    """

    name = "gpl"
    summary = "GPL: margins of a teacher on queries that a language model wrote; no labels"
    needs = frozenset({"generated"})
