"""One step after the other, which a recorded graph holds once however many there are."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch._higher_order_ops.scan import scan as recorded_scan


def scan(step: Callable[..., Tensor], x: Tensor, *columns: Tensor) -> Tensor:
    """step(x, *row) for each row in turn, where x is what the step before returned.

    step     x and an entry of each column → what x is next, of x's shape
    columns  (S, …) each
    returns  what the last step returned; x where S is 0
    """
    # PyTorch's own scan would compile the step when it is merely run, and takes no columns without rows.
    if not torch.compiler.is_exporting() or not columns[0].shape[0]:
        for row in zip(*columns, strict=True):
            x = step(x, *row)
        return x

    def body(x: Tensor, row: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        # Beside what it passes on, a recorded step must give something that is kept.
        return step(x, *row), x.new_zeros(1)

    last, _ = recorded_scan(body, x, columns)
    return last
