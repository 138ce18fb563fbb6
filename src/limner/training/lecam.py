"""LeCam regularisation: scores are drawn towards where the other kind's have been, against over-fitting."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from limner.core.method import Method, Turn
from limner.losses.adversarial import lecam
from limner.training.wrap import Wrap, judge_names, judges


class LeCam(Wrap):
    """Adds a penalty to the discriminator's turn, whatever its loss.

    The anchors are moving averages of the scores up to the step before, so that a batch may be walked in parts.

    method   its discriminator's turns name their scores (see losses.adversarial.scores)
    weight   of the penalty
    raises   UsageError   if the method has no discriminator

    Source: Tseng et al. 2021, arXiv:2104.03310
    """

    name = "lecam"
    decay = 0.99  # as in the authors' code for StyleGAN2

    def __init__(self, method: Method, weight: float) -> None:
        judges(method, "--lecam")
        self.players, self.weight = judge_names(method), weight
        # Sums of decaying weights × scores, and of the weights: their ratio is a mean from the first step on.
        self.real = self.fake = self.total = 0.0

    def turn(self, turn: Turn) -> Turn:
        if turn.player not in self.players or not self.total or "real_logit" not in turn.values:
            return turn
        penalty = lecam(
            turn.values["real_logit"], turn.values["fake_logit"], self.real / self.total, self.fake / self.total
        )
        return replace(turn, loss=turn.loss + self.weight * penalty, values={**turn.values, "lecam": penalty})

    def after(self, told: Mapping[str, float], index: int, batch: int) -> dict[str, float]:
        if "real_logit" in told:
            new = 1 - self.decay
            self.real = self.decay * self.real + new * told["real_logit"]
            self.fake = self.decay * self.fake + new * told["fake_logit"]
            self.total = self.decay * self.total + new
        return {}

    def state(self) -> dict[str, Tensor]:
        return {"anchors": torch.tensor([self.real, self.fake, self.total], dtype=torch.float64)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self.real, self.fake, self.total = tensors.get("anchors", torch.zeros(3)).tolist()
