"""What a discriminator's logits cost each player. Pure functions, one value a sample."""

from torch import Tensor
from torch.nn.functional import logsigmoid, relu, softplus


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


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """max(0, 1 − D(x)) + max(0, 1 + D(G(z))): what is judged rightly by more than a margin costs nothing.

    real    (N,)  scores of real samples
    fake    (N,)  scores of fakes
    returns (N,)

    Source: Lim & Ye 2017, arXiv:1705.02894; Miyato et al. 2018, arXiv:1802.05957
    """
    return relu(1 - real) + relu(1 + fake)


def hinge_generator(fake: Tensor) -> Tensor:
    """−D(G(z)): the generator's side of the hinge loss, and of the Wasserstein distance.

    fake    (N,)  scores of fakes
    returns (N,)

    Source: Lim & Ye 2017, arXiv:1705.02894; Arjovsky et al. 2017, arXiv:1701.07875
    """
    return -fake


def least_squares_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """½ (D(x) − 1)² + ½ D(G(z))²: scores of 1 are asked for real samples and of 0 for fakes.

    real    (N,)  scores of real samples
    fake    (N,)  scores of fakes
    returns (N,)

    Source: Mao et al. 2017, arXiv:1611.04076, the 0-1 coding
    """
    return (real - 1).square() / 2 + fake.square() / 2


def least_squares_generator(fake: Tensor) -> Tensor:
    """½ (D(G(z)) − 1)²: the farther a fake's score is from a real sample's, the steeper.

    fake    (N,)  scores of fakes
    returns (N,)

    Source: Mao et al. 2017, arXiv:1611.04076, the 0-1 coding
    """
    return (fake - 1).square() / 2


def wasserstein_critic(real: Tensor, fake: Tensor) -> Tensor:
    """D(G(z)) − D(x): minus the Wasserstein distance, if no slope of the critic is above 1.

    real    (N,)  scores of real samples
    fake    (N,)  scores of fakes
    returns (N,)

    Source: Arjovsky et al. 2017, arXiv:1701.07875
    """
    return fake - real


def relativistic(own: Tensor, other: Tensor) -> Tensor:
    """−log σ(own − other): a player wants its kind of sample to score above one of the other kind.

    own     (N,)  scores of the samples that should win: real ones for the discriminator, fakes for the generator
    other   (N,)  scores of the samples that each is compared with
    returns (N,)

    Source: Jolicoeur-Martineau 2018, arXiv:1807.00734 (RpGAN)
    """
    return softplus(other - own)


def scores(real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    """What is worth telling of a discriminator's logits: their means, and how often it ranks a pair rightly.

    The logits keep their gradients, for what regularises a discriminator from outside (see lecam).

    real    (N,)  logits of real samples
    fake    (N,)  logits of fakes
    returns real_logit, fake_logit (N,); sign_rate (N,), 1 where D(x) > D(G(z))
    """
    return {"real_logit": real, "fake_logit": fake, "sign_rate": (real > fake).float()}


def lecam(real: Tensor, fake: Tensor, anchor_real: float, anchor_fake: float) -> Tensor:
    """How far real samples score above where fakes have scored, and fakes below where real ones have, squared.

    real         (N,)  scores of real samples
    fake         (N,)  scores of fakes
    anchor_real  a moving average of real samples' scores
    anchor_fake  a moving average of fakes' scores
    returns      (N,)

    Source: Tseng et al. 2021, arXiv:2104.03310, one-sided as in the authors' code
    """
    return relu(real - anchor_fake).square() + relu(anchor_real - fake).square()
