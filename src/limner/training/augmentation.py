"""Augmentation: the discriminator never sees a picture as it is, real or fake, so that it can't learn few by heart."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from limner.core.errors import UsageError
from limner.core.method import Luck, Method
from limner.core.random import generator, permutation
from limner.data.dataset import Dataset
from limner.nn.augment import ADA_DRAWS, DIFFAUGMENT_DRAWS, ada, diffaugment
from limner.tasks.generate import Generate
from limner.training.world import World
from limner.training.wrap import Wrap, judges


class Augmentation(Wrap):
    """Augments what goes into a method's discriminator while it trains.

    Real and fake pass through the same changes and gradients pass back through them, so the generator is not taught
    to make augmented pictures. Penalties on the discriminator's slope are with respect to the pictures as they were.

    method  has its networks' inputs changed from now on
    kind    diffaugment, or ada with what `adapt` finds for its probability
    raises  UsageError   if the method has no discriminator or makes no pictures

    Source: Zhao et al. 2020, arXiv:2006.10738; Karras et al. 2020, arXiv:2006.06676
    """

    name = "augment"

    def __init__(self, method: Method, kind: Literal["diffaugment", "ada"]) -> None:
        if method.signal.rank != 2:
            raise UsageError(f"--augment changes pictures, not {method.signal.describe()}", "leave out --augment")
        self.method, self.kind, self.p, self.packed = method, kind, 0.0, 1
        self.judges = judges(method, "--augment", changed=True)
        for judge in self.judges:
            judge.register_forward_pre_hook(self._seen)

    def _seen(self, judge: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not judge.training:
            return None
        self.packed = inputs[0][0].numel() // self.method.signal.values
        return (self.augmented(inputs[0], self.method.luck), *inputs[1:])

    def augmented(self, x: Tensor, luck: Luck) -> Tensor:
        """(N, C, H, W) as a discriminator sees them; several samples may be joined along the channels."""
        each = x.reshape(-1, *self.method.signal.shape)
        draws = DIFFAUGMENT_DRAWS if self.kind == "diffaugment" else ADA_DRAWS
        u = luck.uniform(len(each), draws).to(x.device)
        return (diffaugment(each, u) if self.kind == "diffaugment" else ada(each, u, self.p)).reshape(x.shape)


class Adaptive(Augmentation):
    """ADA: the likelihood of each augmentation follows how far the discriminator over-fits.

    It over-fits where it scores the pictures that it learns from above ones that it never saw: by how much, as a
    share of the distance from those it learns from to fakes. That does not ask at which level the scores lie, which is
    arbitrary where the loss is relativistic.

    method    trains
    training  what it learns from
    unseen    real pictures that it does not learn from
    world     the processes, which find the same
    seed      names the streams of randomness

    Source: Karras et al. 2020, arXiv:2006.06676, section 3 (the heuristic r_v)
    """

    target = 0.5  # r_v is 0 without over-fitting and 1 where unseen pictures score no better than fakes.
    speed = 100_000  # Pictures in which p can go from 0 to 1; the authors take 500 kimg, and 100 where they fine-tune.
    most = 0.8  # The paper: below it augmentations do not leak into what is made.
    every = 16  # Steps between looks, each of three times `looks` pictures without gradients.
    looks = 256

    def __init__(self, method: Generate, training: Dataset, unseen: Dataset, world: World, seed: int) -> None:
        super().__init__(method, "ada")
        self.judging, self.training, self.unseen, self.world, self.seed = method, training, unseen, world, seed

    def after(self, told: Mapping[str, float], index: int, batch: int) -> dict[str, float]:
        if (index + 1) % self.every == 0:
            known, new, fake = self._scores(index)
            over = known - new > self.target * max(0.0, known - fake)
            step = batch * self.every / self.speed
            self.p = min(self.most, max(0.0, self.p + (step if over else -step)))
            return {"augment_p": self.p, "held_out_gap": known - new}
        return {}

    @torch.no_grad()
    def _scores(self, index: int) -> tuple[float, float, float]:
        """Mean scores of augmented pictures: known real ones, unseen real ones, fakes."""
        method, device = self.judging, self.world.device
        method.eval()
        luck, means = Luck(self.seed, "ada", index), []
        batches = []
        for part in (self.training, self.unseen):
            order = permutation(self.seed, len(part), "ada", part.manifest.split, index)[: self.looks]
            batches.append({name: value.to(device) for name, value in part.take(order).items()})
        label = method.told(batches[0])
        z = torch.randn(len(batches[0]["x"]), method.latent, generator=generator(self.seed, "ada", "noise", index))
        fakes = method.generate(z.to(device), label)
        for x, told in [*((some["x"], method.told(some)) for some in batches), (fakes, label)]:
            # Not `judge`, which is silent where scores are no logits; and in packs where those are judged.
            whole = len(x) - len(x) % self.packed
            x = torch.cat(self.augmented(x[:whole], luck).chunk(self.packed), 1)
            if told is not None and self.packed > 1:
                told = torch.stack(told[:whole].chunk(self.packed), 1)
            said = self.judges[0](x, told)
            # A discriminator that answers more than one question has its score first.
            means.append((said[0] if isinstance(said, tuple) else said).float().mean())
        method.train()
        self.world.average(means)
        known, new, fake = (float(mean) for mean in means)
        return known, new, fake

    def state(self) -> dict[str, Tensor]:
        return {"p": torch.tensor(self.p, dtype=torch.float64)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self.p = float(tensors.get("p", torch.zeros(())))
