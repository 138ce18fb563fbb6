"""The base of operations that give their own gradient."""

from inspect import signature

import torch


class Function(torch.autograd.Function):
    """torch.autograd.Function, for `torch.func` too; subclasses have forward and setup_context.

    PyTorch reads the signature of forward at each call, which takes longer than a small operation itself (.1 ms), so it
    is kept here.
    """

    generate_vmap_rule = True

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.forward.__signature__ = signature(cls.forward)  # type: ignore[attr-defined]
