"""The learner: walks a method's turns and moves its players. All that is true of every method's training is here."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner.core.adam import Pace
from limner.core.config import Adam
from limner.core.method import Batch, Luck, Method, Moment, Move, Turn
from limner.core.random import seed_torch, stream
from limner.core.tensorfile import load_into
from limner.nn.spectral import Spectral
from limner.training.average import Average
from limner.training.joined import Rows, join_layers, refuse_parts
from limner.training.world import World
from limner.training.wrap import Wrap

_TINY = 1e-20
"""Slopes of a loss below this are too near the end of float32 to divide by."""
_plain: ContextVar[bool] = ContextVar("plain", default=False)


@contextmanager
def two_passes() -> Iterator[None]:
    """In this context simultaneous turns go backward one by one, so that both forms can be compared."""
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


class Learner:
    """Trains one method.

    method       the networks and their step; it keeps its tensors from here on
    average      the moving average of its weights
    world        the processes that share each batch
    precision    what the networks compute in; weights stay float32
    seed         names every stream of randomness
    total        steps of the whole run, for the schedules
    wraps        what stands around the method, from the inside out
    rate_factor  multiplies every learning rate (the guard lowers it)
    """

    def __init__(
        self,
        method: Method,
        average: Average,
        world: World,
        precision: torch.dtype,
        seed: int,
        total: int,
        wraps: Sequence[Wrap] = (),
    ) -> None:
        self.method, self.average, self.world = method, average, world
        self.precision, self.seed, self.total, self.wraps = precision, seed, total, wraps
        self.rate_factor = 1.0
        self._rows = Rows()
        self.settings: dict[str, Adam] = {
            name: value for name, value in method.config if isinstance(value, Adam) and hasattr(method, name)
        }
        self.players = {
            name: [weight for weight in method.get_submodule(name).parameters() if weight.requires_grad]
            for name in self.settings
        }
        self._buffers = list(method.buffers())
        self._iterated = [layer.left for layer in method.modules() if isinstance(layer, Spectral)]
        # One pass over the weights in place of a dozen: a quarter of the time on a CPU.
        fused = world.device.type in ("cpu", "cuda")
        self.optimisers = {
            name: torch.optim.Adam(self.players[name], lr=s.lr, betas=(s.beta1, s.beta2), eps=s.eps, fused=fused)
            for name, s in self.settings.items()
        }

    def step(self, index: int, parts: Sequence[Batch], seen: int) -> dict[str, float]:
        """One step: each turn's loss goes backward into its player's weights alone, and the player moves.

        index   the step's number from 0; it names the step's randomness
        parts   this process's micro-batches, walked side by side, one turn at a time
        seen    samples trained on before this step, over all processes
        returns losses, gradient norms and logged values, means over the joined batch. "skipped" is 1 where a
                loss or gradient was not finite: then that move and the rest of the step were not made
        raises  UsageError   if there are several parts, or processes, and the method cannot be walked so
        """
        total_parts = self.world.size * len(parts)
        if total_parts > 1 and self._rows.parts == 1:
            refuse_parts(self.method, self.world.size, len(parts))
            join_layers(self.method, self._rows, self.world)
        self._rows.parts = total_parts
        if not self.method.training:  # Walking through all layers takes a while beside a step of small ones.
            self.method.train()
        self.method.moment = Moment(index, self.total)
        self.method.pace = lambda player: self.pace(player, index)
        for wrap in self.wraps:
            wrap.before(seen)
        # A forward pass writes running statistics, so a step that is not made must give them back.
        before = [buffer.clone() for buffer in self._buffers]
        walks = [self.method.step(part) for part in parts]
        places = [self.world.rank * len(parts) + i for i in range(len(parts))]
        lucks = [Luck(self.seed, "noise", index, part=place, parts=total_parts) for place in places]
        values: dict[str, float] = {}
        for number in count():
            moves = []
            began = [left.clone() for left in self._iterated]
            for walk, luck, place in zip(walks, lucks, places, strict=True):
                # Each part would turn the power iteration once more; so all begin where the joined batch would.
                for left, first in zip(self._iterated, began, strict=True):
                    left.copy_(first)
                # Dropout draws from torch's own generator, so each turn names that stream too: every part draws for
                # the joined batch and takes its rows.
                seed_torch(stream(self.seed, "layers", index, number, 0), self.world.device)
                self._rows.part = place
                self.method.luck = luck
                turns = self._next(walk)
                self._backward(turns, 1 / len(parts))
                moves.append(turns)
            if not moves[0]:
                break
            told = self._tell(moves)
            values |= told
            if not all(map(math.isfinite, told.values())):
                self._forget()
                with torch.no_grad():
                    for buffer, old in zip(self._buffers, before, strict=True):
                        buffer.copy_(old)
                for walk in walks:
                    walk.close()  # type: ignore[attr-defined]
                return values | {"skipped": 1.0}
            for turn in moves[0]:
                self._move(turn.player, index)
        batch = sum(len(part["x"]) for part in parts) * self.world.size
        self.average.update(self.method, seen + batch, batch)
        for wrap in self.wraps:
            values |= wrap.after(values, index, batch)
        return values | {"skipped": 0.0}

    def _backward(self, turns: tuple[Turn, ...], share: float) -> None:
        """Add each turn's gradient, weighted, to its player's."""
        if len(turns) == 2 and turns[1].through is not None and not _plain.get() and self._one_pass(turns, share):
            return
        for i, turn in enumerate(turns):
            loss = turn.loss.mean() * share
            loss.backward(inputs=self.players[turn.player], retain_graph=i + 1 < len(turns))

    def _one_pass(self, turns: tuple[Turn, ...], share: float) -> bool:
        """Two simultaneous turns with one pass through the judge.

        Where each sample is scored by itself, both losses reach it through its score s alone, so the gradient that
        the maker wants is the one that the judge's own pass leaves on the sample, times (∂maker/∂s) / (∂judge/∂s).

        returns whether it was done; not where a score is so sure that the ratio cannot be computed
        """
        judge, maker = turns
        assert maker.through is not None
        sample, score = maker.through
        (wanted,) = torch.autograd.grad(maker.loss.sum(), score, retain_graph=True)
        (given,) = torch.autograd.grad(judge.loss.sum(), score, retain_graph=True)
        # Going backward may exchange statistics, so the processes must do it in the same way.
        if self.world.agree(not bool((given.abs() > _TINY).all())):
            return False
        weights = self.players[judge.player]
        *own, passed = torch.autograd.grad(judge.loss.mean() * share, [*weights, sample], retain_graph=True)
        for weight, grad in zip(weights, own, strict=True):
            # Adam reads a gradient's memory in the order of the weight's, whatever order the gradient itself lies in.
            weight.grad = torch.empty_like(weight).copy_(grad) if weight.grad is None else weight.grad.add_(grad)
        ratio = (wanted / given).to(passed.dtype).reshape(-1, *[1] * (passed.dim() - 1))
        sample.backward(passed * ratio, inputs=self.players[maker.player])
        return True

    def _next(self, walk: Iterator[Move]) -> tuple[Turn, ...]:
        with self._autocast():
            move = next(walk, ())
            turns = move if isinstance(move, tuple) else (move,)
            for wrap in self.wraps:
                turns = tuple(wrap.turn(turn) for turn in turns)
        return turns

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(self.world.device.type, dtype=self.precision)

    def _tell(self, moves: Sequence[tuple[Turn, ...]]) -> dict[str, float]:
        """Average the gradients and figures of a move over parts and processes; figures as plain numbers."""
        figures: dict[str, Tensor] = {}
        for i, turn in enumerate(moves[0]):
            same = [turns[i] for turns in moves]
            grads = [p.grad for p in self.players[turn.player] if p.grad is not None]
            self.world.average(grads)
            told = {f"{turn.player}_loss": _mean([t.loss for t in same])}
            for name in turn.values:
                told[name] = _mean([t.values[name] for t in same])
            self.world.average(list(told.values()))
            figures |= told | {f"{turn.player}_gradient": torch.nn.utils.get_total_norm(grads)}
        return dict(zip(figures, torch.stack(list(figures.values())).tolist(), strict=True))

    def _move(self, player: str, index: int) -> None:
        optimiser = self.optimisers[player]
        for group in optimiser.param_groups:
            group["lr"] = rate(self.settings[player], index, self.total) * self.rate_factor
            group["betas"] = self.settings[player].memory(done(self.settings[player], index, self.total))
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    def pace(self, player: str, index: int) -> Pace:
        """How a player would move next at a step."""
        settings, known = self.settings[player], self.optimisers[player].state
        weights = dict(self.method.get_submodule(player).named_parameters())
        fresh = Pace.fresh(settings, weights)
        mean = {name: known[w]["exp_avg"] if w in known else fresh.mean[name] for name, w in weights.items()}
        square = {name: known[w]["exp_avg_sq"] if w in known else fresh.square[name] for name, w in weights.items()}
        steps = max((int(moments["step"]) for moments in known.values()), default=0)
        speed = rate(settings, index, self.total) * self.rate_factor
        return Pace(speed, settings.memory(done(settings, index, self.total)), settings.eps, steps, mean, square)

    def _forget(self) -> None:
        for optimiser in self.optimisers.values():
            optimiser.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """Every tensor that training needs to go on: weights, averages, optimiser moments, what wraps found."""
        tensors = {f"method.{name}": value for name, value in self.method.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.state().items()}
        for player, optimiser in self.optimisers.items():
            for i, moments in optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser.{player}.{i}.{name}": value for name, value in moments.items()}
        for wrap in self.wraps:
            tensors |= {f"wrap.{wrap.name}.{name}": value for name, value in wrap.state().items()}
        return tensors

    def restore(self, tensors: Mapping[str, Tensor], source: Path) -> None:
        """Go back to a state that `state` gave.

        source  the file it comes from, for errors
        raises  ModelError   if a name, shape or type is not this learner's
        """
        load_into(self.method, _under("method", tensors), source)
        load_into(self.average.networks, _under("average", tensors), source)
        for player, optimiser in self.optimisers.items():
            moments: dict[int, dict[str, Tensor]] = {}
            for name, value in _under(f"optimiser.{player}", tensors).items():
                i, _, moment = name.partition(".")
                # Loading keeps a reference to what it is given where types agree, so it is given its own copy.
                moments.setdefault(int(i), {})[moment] = value.clone()
            optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})
        for wrap in self.wraps:
            wrap.restore(_under(f"wrap.{wrap.name}", tensors))


def rate(settings: Adam, step: int, total: int) -> float:
    """The learning rate at a step: a linear warm-up, then the schedule down to final·lr at the last step.

    step    from 0
    total   steps of the whole run
    """
    if step < settings.warmup:
        return settings.lr * (step + 1) / settings.warmup
    return settings.lr * (settings.final + (1 - settings.final) * settings.left(done(settings, step, total)))


def done(settings: Adam, step: int, total: int) -> float:
    """How much of the run after the warm-up is over at a step, from 0 to 1 at the last."""
    return max(0, step - settings.warmup) / max(1, total - 1 - settings.warmup)


def _mean(parts: Sequence[Tensor]) -> Tensor:
    """The mean over parts of the mean of each, whatever their shapes: as a number without a gradient."""
    means = [part.detach().float() for part in parts]
    means = [part.mean() if part.dim() else part for part in means]
    return means[0] if len(means) == 1 else torch.stack(means).mean()


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix + "."): value for name, value in tensors.items() if name.startswith(prefix + ".")}
