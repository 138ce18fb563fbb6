"""What a discriminator's logits cost each player. Pure functions, one value a sample."""

from torch import Tensor
from torch.nn.functional import logsigmoid, softplus


def cross_entropy_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """−log D(x) − log(1 − D(G(z))) with D the sigmoid of the logits.

    real    (N,)  logits of real samples
    fake    (N,)  logits of fakes
    returns (N,)

    Source: Goodfellow et al. 2014, arXiv:1406.2661, section 3
    """
    return softplus(-real) + softplus(fake)


def non_saturating_generator(fake: Tensor) -> Tensor:
    """−log D(G(z)): the generator's loss that keeps a slope where the discriminator is sure.

    fake    (N,)  logits of fakes
    returns (N,)

    Source: Goodfellow et al. 2014, arXiv:1406.2661, section 3
    """
    return softplus(-fake)


def minimax_generator(fake: Tensor) -> Tensor:
    """log(1 − D(G(z))): the generator's loss of the zero-sum game.

    fake    (N,)  logits of fakes
    returns (N,)

    Source: Goodfellow et al. 2014, arXiv:1406.2661, equation 1
    """
    return logsigmoid(-fake)


def scores(real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    """What is worth logging of a discriminator's logits: their means, and how often it ranks a pair rightly.

    real    (N,)  logits of real samples
    fake    (N,)  logits of fakes
    returns real_logit, fake_logit (N,); sign_rate (N,), 1 where D(x) > D(G(z))
    """
    real, fake = real.detach(), fake.detach()
    return {"real_logit": real, "fake_logit": fake, "sign_rate": (real > fake).float()}
