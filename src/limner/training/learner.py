"""The learner: walks a method's turns and moves its players. All that is true of every method's training is here."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner.core.config import Adam
from limner.core.errors import UsageError
from limner.core.method import Batch, Luck, Method, Move, Turn
from limner.core.random import stream
from limner.core.tensorfile import load_into
from limner.training.average import Average
from limner.training.world import World


class Learner:
    """Trains one method.

    method       the networks and their step
    average      the moving average of its weights
    world        the processes that share each batch
    precision    what the networks compute in; weights stay float32
    seed         names every stream of randomness
    total        steps of the whole run, for the schedules
    rate_factor  multiplies every learning rate (the guard lowers it)
    """

    def __init__(
        self, method: Method, average: Average, world: World, precision: torch.dtype, seed: int, total: int
    ) -> None:
        self.method, self.average, self.world = method, average, world
        self.precision, self.seed, self.total = precision, seed, total
        self.rate_factor = 1.0
        self.settings: dict[str, Adam] = {
            name: value for name, value in method.config if isinstance(value, Adam) and hasattr(method, name)
        }
        self.players = {name: list(method.get_submodule(name).parameters()) for name in self.settings}
        self.optimisers = {
            name: torch.optim.Adam(self.players[name], lr=s.lr, betas=(s.beta1, s.beta2), eps=s.eps)
            for name, s in self.settings.items()
        }

    def step(self, index: int, parts: Sequence[Batch], seen: int) -> dict[str, float]:
        """One step: each turn's loss goes backward into its player's weights alone, and the player moves.

        index   the step's number from 0; it names the step's randomness
        parts   this process's micro-batches, walked side by side, one turn at a time
        seen    samples trained on before this step, over all processes
        returns losses, gradient norms and logged values, means over the joined batch. "skipped" is 1 where a
                loss or gradient was not finite: then that move and the rest of the step were not made
        raises  UsageError   if there are several parts and the method uses batch statistics
        """
        if len(parts) > 1 and self.method.batchwise:
            raise UsageError(
                "this method uses batch statistics, so a batch cannot be accumulated from parts",
                "leave out --accumulate, or lower --batch",
            )
        self.method.train()
        walks = [self.method.step(part) for part in parts]
        total_parts = self.world.size * len(parts)
        places = [self.world.rank * len(parts) + i for i in range(len(parts))]
        lucks = [Luck(self.seed, "noise", index, part=place, parts=total_parts) for place in places]
        values: dict[str, float] = {}
        for number in count():
            moves = []
            for walk, luck, place in zip(walks, lucks, places, strict=True):
                # Dropout draws from torch's own generator, so each turn names that stream too.
                torch.manual_seed(stream(self.seed, "layers", index, number, place))
                self.method.luck = luck
                turns = self._next(walk)
                for i, turn in enumerate(turns):
                    loss = turn.loss.float().mean() / len(parts)
                    loss.backward(inputs=self.players[turn.player], retain_graph=i + 1 < len(turns))
                moves.append(turns)
            if not moves[0]:
                break
            told = self._tell(moves)
            values |= told
            if not all(torch.isfinite(torch.tensor(list(told.values())))):
                self._forget()
                for walk in walks:
                    walk.close()  # type: ignore[attr-defined]
                return values | {"skipped": 1.0}
            for turn in moves[0]:
                self._move(turn.player, index)
        batch = sum(len(part["x"]) for part in parts) * self.world.size
        self.average.update(self.method, seen + batch, batch)
        return values | {"skipped": 0.0}

    def _next(self, walk: Iterator[Move]) -> tuple[Turn, ...]:
        with self._autocast():
            move = next(walk, ())
        return move if isinstance(move, tuple) else (move,)

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
            told = {f"{turn.player}_loss": torch.stack([t.loss.detach().float().mean() for t in same]).mean()}
            for name in turn.values:
                told[name] = torch.stack([t.values[name].detach().float().mean() for t in same]).mean()
            self.world.average(list(told.values()))
            figures |= told | {f"{turn.player}_gradient": torch.nn.utils.get_total_norm(grads)}
        return dict(zip(figures, torch.stack(list(figures.values())).tolist(), strict=True))

    def _move(self, player: str, index: int) -> None:
        optimiser = self.optimisers[player]
        for group in optimiser.param_groups:
            group["lr"] = rate(self.settings[player], index, self.total) * self.rate_factor
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    def _forget(self) -> None:
        for optimiser in self.optimisers.values():
            optimiser.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """Every tensor that training needs to go on: weights, averages, optimiser moments."""
        tensors = {f"method.{name}": value for name, value in self.method.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.state().items()}
        for player, optimiser in self.optimisers.items():
            for i, moments in optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser.{player}.{i}.{name}": value for name, value in moments.items()}
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


def rate(settings: Adam, step: int, total: int) -> float:
    """The learning rate at a step: a linear warm-up, then the schedule down to final·lr at the last step.

    step    from 0
    total   steps of the whole run
    """
    if step < settings.warmup:
        return settings.lr * (step + 1) / settings.warmup
    done = (step - settings.warmup) / max(1, total - 1 - settings.warmup)
    if settings.schedule == "linear":
        share = 1 - done
    elif settings.schedule == "cosine":
        share = (1 + torch.cos(torch.tensor(done * torch.pi, dtype=torch.float64)).item()) / 2
    else:
        return settings.lr
    return settings.lr * (settings.final + (1 - settings.final) * share)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix + "."): value for name, value in tensors.items() if name.startswith(prefix + ".")}
