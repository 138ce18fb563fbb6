"""Joined layers: where a batch is walked in parts, layers that look beyond their sample see the whole batch.

Batch normalisation takes its statistics over all processes, and dropout takes its rows of the joined batch's mask, so
that a run of several processes is the run of one. The layers of a network stay torch's own and know nothing of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from limner.core.errors import UsageError
from limner.core.method import Method
from limner.training.world import World


@dataclass
class Rows:
    """Which part of the joined batch is being walked."""

    part: int = 0
    parts: int = 1


def in_one(method: Method) -> bool:
    """Whether a process must walk its share of a batch in one, since the samples in it depend on each other."""
    return method.batchwise or any(isinstance(layer, _BatchNorm) for layer in method.modules())


def refuse_parts(method: Method, processes: int, parts: int) -> None:
    """Refuse a batch in parts where that would change what is learned.

    parts   that each process walks its share in
    raises  UsageError
    """
    if parts > 1 and in_one(method):
        raise UsageError(
            "this method uses batch statistics, so a batch cannot be accumulated from parts",
            "leave out --accumulate, or lower --batch",
        )
    if processes > 1 and method.batchwise:
        raise UsageError(
            "this method compares the samples of a batch, so processes cannot share one",
            "leave out torchrun",
        )


def join_layers(method: Method, rows: Rows, world: World) -> None:
    """From now on, layers in training see the joined batch. Their weights and names stay what they are."""
    for layer in method.modules():
        form: Callable[..., Tensor] | None = None
        if isinstance(layer, _BatchNorm) and world.size > 1:
            form = partial(_normalise, layer, world)
        elif isinstance(layer, _DropoutNd) and not isinstance(layer, nn.AlphaDropout | nn.FeatureAlphaDropout):
            form = partial(_drop, layer, rows)
        if form is not None:
            layer.forward = partial(_forward, layer, form)


def _forward(layer: nn.Module, joined: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    result: Tensor = joined(x) if layer.training else type(layer).forward(layer, x)
    return result


def _drop(layer: _DropoutNd, rows: Rows, x: Tensor) -> Tensor:
    """x (N, ...) times its rows of the mask that the joined batch (N · parts, ...) would have."""
    with torch.no_grad():
        mask = type(layer).forward(layer, torch.cat([torch.ones_like(x)] * rows.parts))
    return x * mask[rows.part * len(x) : (rows.part + 1) * len(x)]


def _normalise(layer: _BatchNorm, world: World, x: Tensor) -> Tensor:
    """Batch normalisation of x (N, C, ...) by mean and variance over all processes, which hold equally many values.

    Made of operations that autograd can differentiate twice. One exchange carries each process's mean and variance;
    their mean and spread give those of all.
    """
    axes = [axis for axis in range(x.dim()) if axis != 1]
    variance, mean = torch.var_mean(x.float() if x.dtype != torch.float64 else x, axes, correction=0)
    place = torch.zeros(world.size, 1, 1, dtype=mean.dtype, device=mean.device)
    place[world.rank] = 1
    means, variances = _summed(place * torch.stack([mean, variance])).unbind(1)
    mean = means.mean(0)
    variance = variances.mean(0) + means.var(0, correction=0)
    if layer.track_running_stats and layer.running_mean is not None and layer.running_var is not None:
        _remember(layer, mean.detach(), variance.detach(), world.size * x.numel() // x.shape[1])
    scale = torch.rsqrt(variance + layer.eps)
    scale = scale if layer.weight is None else scale * layer.weight
    shift = -mean * scale if layer.bias is None else layer.bias - mean * scale
    shape = [-1 if axis == 1 else 1 for axis in range(x.dim())]
    return torch.addcmul(shift.view(shape), x, scale.view(shape)).to(x.dtype)


@torch.no_grad()
def _remember(layer: _BatchNorm, mean: Tensor, variance: Tensor, count: int) -> None:
    """Move the running statistics as torch does, by the unbiased variance of `count` values."""
    assert layer.running_mean is not None and layer.running_var is not None
    share = layer.momentum
    if layer.num_batches_tracked is not None:
        layer.num_batches_tracked += 1
        share = 1 / float(layer.num_batches_tracked) if share is None else share
    layer.running_mean.lerp_(mean.to(layer.running_mean), share or 0.0)
    layer.running_var.lerp_((variance * (count / max(1, count - 1))).to(layer.running_var), share or 0.0)


class _Sum(torch.autograd.Function):
    """Sum over the processes; what each loses by it is the sum of what all lose, to any order."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _summed(grad.contiguous())


def _summed(x: Tensor) -> Tensor:
    result: Tensor = _Sum.apply(x)  # type: ignore[no-untyped-call]
    return result
