"""Generate: make something out of noise."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from limner.core.method import Batch, Method
from limner.core.settings import Settings
from limner.core.signal import Signal


class Generate(Method):
    """A method that turns noise into samples.

    latent       how many numbers of noise make one sample; set by the final class's __init__
    conditional  whether it makes the class that it is asked for; set there too, as it depends on settings and data
    odds         whether what the discriminator says are log-odds of being real, as a cross-entropy teaches
    passes       how often a sample passes through the network; training looks at fewer samples where it is often
    augments     whether its own step changes what its discriminator sees
    reads        what of a batch a conditional method is told
    picks        how many numbers at the noise's beginning pick a network by their direction; a walk stays with one
    truncates    whether shorter noise makes more typical samples; not where the noise is what a sample begins as
    """

    conditional: bool = False
    averaged: ClassVar[tuple[str, ...]] = ("generator",)
    odds: ClassVar[bool] = True
    latent: int
    passes: int = 1
    picks: int = 0
    truncates: bool = True
    augments: bool = False
    reads: ClassVar[str] = "label"
    generator: nn.Module

    def generate(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Samples from noise: what the network called `generator` makes of it, where a method does not say otherwise.

        z       (N, latent)        standard normal
        label   (N,)               classes; needed where the method is conditional, and ignored where it is not;
                                   captions, (N, signal.text), where it is Captioned
        returns (N, C, *size)      values in [-1, 1]
        """
        made: Tensor = self.generator(z, label)
        return made

    @property
    def blocks(self) -> tuple[int, ...]:
        """How many numbers of noise each network reads, one after the other: each is a normal noise of its own."""
        return (self.latent,)

    @property
    def at_once(self) -> int:
        """Samples whose noise takes no more than 256 MB: at least 1. Some samplers read noise at every step."""
        return max(1, (1 << 26) // self.latent)

    def judge(self, x: Tensor, label: Tensor | None = None) -> Tensor | None:
        """How real each sample looks to the discriminator, where the method has one that says so.

        x       (N, C, *size)
        label   (N,)  as of `generate`
        returns (N,)  scores: positive where it takes the sample for real; None where there is no such judge
        """
        return None

    def score(self, x: Tensor, label: Tensor | None = None) -> Tensor | None:
        """How real each sample looks beside others, where the method has a discriminator that sees samples one by one.

        Unlike what `judge` says, a score has no level at which real begins: a critic's and a relativistic one's mean
        something beside each other only.

        x, label, returns  as of `judge`
        """
        return self.judge(x, label)

    @classmethod
    def scores(cls) -> bool:
        """Whether methods of this class score samples one by one; with some settings they may not."""
        return cls.judge is not Generate.judge or cls.score is not Generate.score

    def told(self, batch: Batch) -> Tensor | None:
        """What `generate` and `judge` are told of a batch's samples: their classes, or their captions."""
        return batch.get("label")

    def in_turn(self, count: int) -> Tensor | None:
        """Each class in turn, (count,), for a conditional method that is asked for none; None for any other."""
        return torch.arange(count) % self.signal.classes if self.conditional else None

    @torch.inference_mode()
    def draw(self, z: Tensor, label: Tensor | None = None, batch: int = 250) -> Tensor:
        """Samples as the method in evaluation mode makes them, in batches so that memory stays bounded.

        z       (N, latent)     on any device
        label   (N,)            classes; where none are given, a conditional method makes each in turn
        returns (N, C, *size)   on the CPU, float32 in [-1, 1]
        """
        self.eval()
        parts = []
        label = self.in_turn(len(z)) if label is None else label
        for start in range(0, len(z), batch):
            chosen = None if label is None else label[start : start + batch].to(self.device)
            made = self.generate(z[start : start + batch].to(self.device), chosen)
            parts.append(made.float().clamp(-1, 1).cpu())
        return torch.cat(parts)

    def drawn(self, count: int, luck: torch.Generator, label: Tensor | None = None) -> Tensor:
        """So many samples as `draw` makes them, of a stream's noise, which is made in parts where it is large.

        label   (count,)  as of `draw`
        returns (count, C, *size)
        """
        label, at_once, parts = self.in_turn(count) if label is None else label, self.at_once, []
        for start in range(0, count, at_once):
            z = torch.randn(min(at_once, count - start), self.latent, generator=luck)
            parts.append(self.draw(z, None if label is None else label[start : start + len(z)]))
        return torch.cat(parts)

    @torch.inference_mode()
    def verdict(self, samples: Batch, batch: int = 250) -> Tensor | None:
        """What `judge` says of samples with the method in evaluation mode, in batches so that memory stays bounded.

        samples  "x", and what `told` reads where the method is conditional
        returns  (N,)  on the CPU, float32; None where there is no judge, or it cannot be told what it needs
        """
        return self._said(self.judge, samples, batch)

    @torch.inference_mode()
    def scored(self, samples: Batch, batch: int = 250) -> Tensor | None:
        """What `score` says of samples; all else as of `verdict`."""
        return self._said(self.score, samples, batch)

    def _said(self, ask: Callable[..., Tensor | None], samples: Batch, batch: int) -> Tensor | None:
        if self.conditional and self.reads not in samples:
            return None
        self.eval()
        x, label = samples["x"], self.told(samples) if self.conditional else None
        told = [None] * len(x.split(batch)) if label is None else [part.to(self.device) for part in label.split(batch)]
        parts = [ask(part.to(self.device), some) for part, some in zip(x.split(batch), told, strict=True)]
        said = [part.float().cpu() for part in parts if part is not None]
        return torch.cat(said) if said else None


EXAMPLES = 64
"""Captions that a model carries along, to show what it makes where nobody says what."""


class Captioned(Generate):
    """A method that makes what a sentence says. What others know as a label is a caption here, as a vector.

    examples  (EXAMPLES, signal.text)  captions of the data, set before training
    """

    conditional = True
    reads = "text"

    def __init__(self, config: Settings, signal: Signal) -> None:
        super().__init__(config, signal)
        self.register_buffer("examples", torch.zeros(EXAMPLES, signal.text))

    def told(self, batch: Batch) -> Tensor:
        return batch["text"]

    def in_turn(self, count: int) -> Tensor:
        """(count, signal.text)  the example captions, again and again."""
        examples = self.get_buffer("examples").cpu()
        return examples[torch.arange(count) % len(examples)]
