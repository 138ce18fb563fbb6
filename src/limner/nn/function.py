"""The base of operations that give their own gradient."""

from inspect import signature

import torch


class Function(torch.autograd.Function):
    """torch.autograd.Function, for `torch.func` too; subclasses have forward and setup_context.

    PyTorch reads the signature of forward at each call, which can take longer than the operation itself, so it is kept.
    """

    generate_vmap_rule = True

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.forward.__signature__ = signature(cls.forward)  # type: ignore[attr-defined]
