"""Maps that only move numbers and add some up, whose gradient is the map back."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from limner.nn.function import Function

Map = Callable[[Tensor], Tensor]


class _Moved(Function):
    @staticmethod
    def forward(x: Tensor, there: Map, back: Map) -> Tensor:
        return there(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Map, Map], output: Tensor) -> None:
        _, ctx.there, ctx.back = inputs

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return moved(grad, ctx.back, ctx.there), None, None


def moved(x: Tensor, there: Map, back: Map) -> Tensor:
    """there(x), whose gradient is made by `back`, whose own gradient `there` makes: to any order.

    Autograd would find the same numbers. But it leaves them in memory as its steps go, and whatever works on numbers
    that lie crosswise takes several times as long; `back` lays them as the layer before wants them.

    there, back  linear, and each the transpose of the other
    """
    gone: Tensor = _Moved.apply(x, there, back)  # type: ignore[no-untyped-call]
    return gone
