"""GPL: domain adaptation with queries that a language model wrote (Wang et al., 2022, "GPL: Generative Pseudo ...")."""

from __future__ import annotations

from bench.strategy.preset import Preset


class GPL(Preset):
    """Full fine-tuning on generated queries, whose margins a cross-encoder gives that learnt from the same queries.

    The paper's cross-encoder is pretrained. With one as a folder, write `full(objective=gpl(teacher=FOLDER))`.
    """

    name = "gpl"
    summary = "full fine-tuning without labels: a re-ranker's margins on queries that a language model wrote"
    expression = "full(objective=gpl(teacher=rerank(frozen)))"
