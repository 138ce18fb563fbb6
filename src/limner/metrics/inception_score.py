"""Inception Score: are single pictures clear to a classifier, and all together varied? From 1 to the class count.

It never looks at real data: a set with one perfect picture a class has the best score. Read it beside a distance.
The number means something only with the classifier's name: IS-digits is not the published IS over Inception.

Source: Salimans et al. 2016, arXiv:1606.03498
"""

import torch
from torch import Tensor

from limner.metrics.interval import Spread, spread


class InceptionScore:
    """The score of a stream of logits. Sample number i belongs to part i mod `splits`; merging equals one pass.

    splits  parts whose scores are averaged; published figures use 10
    """

    def __init__(self, classes: int, splits: int = 10) -> None:
        self.seen = 0
        self._counts = torch.zeros(splits, dtype=torch.float64)
        self._probabilities = torch.zeros(splits, classes, dtype=torch.float64)
        self._negentropy = torch.zeros(splits, dtype=torch.float64)

    def update(self, logits: Tensor) -> None:
        """Takes in more samples.

        logits  (N, classes)
        """
        logs = logits.double().cpu().log_softmax(1)
        part = (torch.arange(len(logits)) + self.seen) % len(self._counts)
        self._counts.index_add_(0, part, torch.ones(len(logits), dtype=torch.float64))
        self._probabilities.index_add_(0, part, logs.exp())
        self._negentropy.index_add_(0, part, (logs.exp() * logs).sum(1))
        self.seen += len(logits)

    def merge(self, other: "InceptionScore") -> None:
        """Takes in another part, as if its samples had come after these."""
        turn = self.seen % len(self._counts)
        self._counts += other._counts.roll(turn, 0)
        self._probabilities += other._probabilities.roll(turn, 0)
        self._negentropy += other._negentropy.roll(turn, 0)
        self.seen += other.seen

    def compute(self) -> Spread:
        """exp of the mean divergence of a sample's classes from all samples' classes, over the parts.

        raises ValueError   with fewer samples than parts
        """
        if self.seen < len(self._counts):
            raise ValueError(f"{len(self._counts)} splits need as many samples, not {self.seen}")
        marginal = self._probabilities / self._counts[:, None]
        divergence = self._negentropy / self._counts - torch.special.xlogy(marginal, marginal).sum(1)
        return spread(divergence.exp())


def inception_score(logits: Tensor, splits: int = 10) -> Spread:
    """The score of logits at hand.

    logits  (N, classes)
    """
    score = InceptionScore(logits.shape[1], splits)
    score.update(logits)
    return score.compute()
