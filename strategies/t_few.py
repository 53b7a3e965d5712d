"""T-Few, adapted to retrieval (Liu et al., 2022, "Few-Shot Parameter-Efficient ...", sections 3.2 to 3.4).

The paper's recipe has three parts, and each has its counterpart here:

- IA3 is what is trained (section 3.3).
- Its vectors are trained on many other tasks first (section 3.4): `sources=` names these datasets.
- A loss pushes wrong answers down beside the right one (unlikelihood, section 3.2). In retrieval the wrong answers are
  hard negatives, and InfoNCE pushes them down. The length normalisation of the paper has no counterpart.
"""

from __future__ import annotations

from bench.strategy.preset import Preset


class TFew(Preset):
    """IA3 with hard negatives, first on the labels of the sources, then on a few labels of the target."""

    name = "t-few"
    summary = "for few labels: `ia3` with hard negatives, trained on source datasets first"
    expression = "ia3(objective=mined(contrastive))"
    required = ("sources",)
