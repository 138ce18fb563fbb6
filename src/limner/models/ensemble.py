"""Ensemble: several trained models as one. Each sample is made by one; its discriminator may turn it down."""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from limner.core.random import direction
from limner.core.settings import Settings
from limner.core.signal import Signal
from limner.tasks.generate import Generate

NAME = "ensemble"
"""What stands for a method's name in the header of an ensemble's file."""
_PICK = 2  # numbers of noise whose direction is a uniform number, however the noise is scaled
_TINY = 1e-6
_DECAY = 1e-4
_PERCENTILE = 0.8


class Rejection(Settings):
    """When a member's discriminator turns down a sample.

    The largest log-odds and γ stay as the burn-in found them, where the paper raises the former as larger ones come: so
    a sample depends on its noise alone.

    Source: Azadi et al. 2019, arXiv:1810.06758 (DRS); Turner et al. 2019, arXiv:1811.11357 (calibration)
    """

    scale: float = Field(ge=0)
    """The calibrated log-odds of being real are scale · score + offset."""
    offset: float
    """See scale."""
    top: float
    """The largest log-odds in the burn-in."""
    shift: float
    """γ: taken from every sample's acceptance, so that enough are accepted."""

    def chance(self, score: Tensor) -> Tensor:
        """How likely each sample is accepted.

        score    (N,)  the discriminator's
        returns  (N,)  float64, on the CPU
        """
        return torch.sigmoid(self.acceptance(score) - self.shift)

    def acceptance(self, score: Tensor) -> Tensor:
        """F̂ before γ: how far a sample's density ratio is from the largest one, as log-odds. (N,) → (N,)"""
        below = (self.scale * score.cpu().double() + self.offset - self.top).clamp_max(0.0)
        return below - torch.log1p(-torch.exp(below - _TINY))


class Member(Settings):
    """One of the models."""

    method: str
    """Its method."""
    config: dict[str, Any]
    """The method's settings."""
    sha256: str
    """Of the file that it came from."""
    weight: float = Field(ge=0, le=1)
    """Share of the samples that it makes."""
    rejection: Rejection | None = None
    """When its discriminator turns down a sample; never where there is none."""


class EnsembleConfig(Settings):
    """What an ensemble's file says of its members."""

    members: tuple[Member, ...] = Field(min_length=1, max_length=100)
    """The models, in order."""
    tries: int = Field(default=1, ge=1, le=100)
    """Samples that are made before the best of those that were turned down is taken."""


class Ensemble(Generate):
    """Several methods that make the same kind of thing.

    Its noise is made of two numbers, whose direction picks the member, and for each try two numbers, whose direction is
    the lot, and the member's noise. So a sample depends on its noise alone, as with any model.

    members  in the order of the settings
    """

    averaged = ()
    picks = _PICK

    def __init__(self, config: EnsembleConfig, signal: Signal, members: list[Generate]) -> None:
        super().__init__(config, signal)
        self.shares = torch.tensor([member.weight for member in config.members], dtype=torch.float64)
        self.rejections = [member.rejection for member in config.members]
        self.members = nn.ModuleList(members)
        self.tries = config.tries
        self.wide = max(member.latent for member in members)
        self.latent = _PICK + self.tries * (_PICK + self.wide)
        self.conditional = any(member.conditional for member in members)
        self.passes = self.tries * max(member.passes for member in members)
        self.truncates = all(member.truncates for member in members)

    def step(self, batch: Any) -> Any:
        """An ensemble does not train; its members did."""
        raise NotImplementedError("an ensemble does not train")

    def generate(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        picked = self.picked(z[:, :_PICK])
        made = z.new_zeros(len(z), *self.signal.shape)
        for number, member in enumerate(self.members):
            rows = (picked == number).nonzero()[:, 0]
            if len(rows):
                assert isinstance(member, Generate)
                some = label[rows] if label is not None and member.conditional else None
                tries = z[rows, _PICK:].view(len(rows), self.tries, _PICK + self.wide)
                made[rows] = _accepted(member, self.rejections[number], tries, some).to(made)
        return made

    @property
    def blocks(self) -> tuple[int, ...]:
        return (_PICK, *(_PICK, self.wide) * self.tries)

    def picked(self, pair: Tensor) -> Tensor:
        """The number of the member that makes each sample. (N, 2) → (N,)"""
        # On the CPU: Apple's GPUs have no float64.
        borders = self.shares.cumsum(0) / self.shares.sum()
        found = torch.searchsorted(borders, direction(pair).cpu().double(), right=True)
        return found.clamp_max(len(borders) - 1).to(pair.device)

    def judge(self, x: Tensor, label: Tensor | None = None) -> Tensor | None:
        """A single member's opinion; several have none in common."""
        only = self.members[0]
        assert isinstance(only, Generate)
        return only.judge(x, label) if len(self.members) == 1 else None

    def score(self, x: Tensor, label: Tensor | None = None) -> Tensor | None:
        """As `judge`."""
        only = self.members[0]
        assert isinstance(only, Generate)
        return only.score(x, label) if len(self.members) == 1 else None


def rejection(real: Tensor, fake: Tensor) -> Rejection:
    """The rule that a discriminator's scores of a burn-in give.

    A discriminator is seldom right about how sure it may be, and a critic's or a relativistic one's scores are no odds
    at all. So log-odds are fitted to the scores first, by logistic regression. γ is the 80th percentile of the
    burn-in's acceptances: a fifth of the samples have an even chance or better.

    real    (N,)  scores of real samples that training did not see, if possible
    fake    (M,)  scores of the member's samples
    """
    scale, offset = _calibrated(real.double(), fake.double())
    odds = scale * fake.double() + offset
    rule = Rejection(scale=scale, offset=offset, top=float(odds.max()), shift=0.0)
    return rule.model_copy(update={"shift": float(rule.acceptance(fake).quantile(_PERCENTILE))})


def _calibrated(real: Tensor, fake: Tensor) -> tuple[float, float]:
    """Slope and intercept of the log-odds of being real over the score, both kinds weighing the same."""
    score, kind = torch.cat([real, fake]), torch.cat([torch.ones_like(real), torch.zeros_like(fake)])
    share = torch.where(kind > 0, 0.5 / len(real), 0.5 / len(fake))
    middle, spread = score.mean(), score.std().clamp_min(_TINY)
    rows = torch.stack([(score - middle) / spread, torch.ones_like(score)], 1)
    found = torch.zeros(2, dtype=torch.float64)
    for _ in range(50):
        said = torch.sigmoid(rows @ found)
        # A little weight decay, so that scores that tell all apart have a finite slope.
        slope = rows.T @ (share * (said - kind)) + _DECAY * found
        curve = rows.T @ (rows * (share * said * (1 - said))[:, None]) + _DECAY * torch.eye(2, dtype=torch.float64)
        found = found - torch.linalg.solve(curve, slope)
    scale = max(0.0, float(found[0] / spread))
    return scale, float(found[1]) - scale * float(middle)


def _accepted(member: Generate, rejection: Rejection | None, tries: Tensor, label: Tensor | None) -> Tensor:
    """The first sample of each row that is accepted; where none is, the one that was likeliest.

    tries    (N, tries, 2 + noise)
    returns  (N, C, *size)
    """
    z = tries[:, :, _PICK : _PICK + member.latent]
    if rejection is None:
        return member.generate(z[:, 0], label)
    made: Tensor | None = None
    best, open_rows = torch.full((len(z),), -1.0, dtype=torch.float64), torch.arange(len(z))
    for number in range(tries.shape[1]):
        some = None if label is None else label[open_rows]
        new = member.generate(z[open_rows, number], some)
        score = member.score(new, some)
        assert score is not None
        chance = rejection.chance(score)
        made = new.clone() if made is None else made
        better = chance > best[open_rows]
        taken = chance > direction(tries[open_rows, number, :_PICK]).cpu()
        kept = open_rows[better | taken]
        made[kept] = new[better | taken]
        best[kept] = chance[better | taken]
        open_rows = open_rows[~taken]
        if not len(open_rows):
            break
    assert made is not None
    return made
