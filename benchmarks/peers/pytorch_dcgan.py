"""A DCGAN in PyTorch as people write it by hand: the loop, the losses and the layers of pytorch/examples.

python pytorch_dcgan.py FILE.npy BATCH SEED [compiled]    waits for "step N" and "sample N"; see protocol.py

28×28 grey pictures get the networks that limner's variant `mnist` has, 64×64 ones those of the example.
Source: github.com/pytorch/examples, dcgan/main.py
"""

import sys

import numpy as np
import torch
from torch import Tensor, nn, optim

from protocol import serve, threads


def small() -> tuple[nn.Module, nn.Module]:
    """For 28×28 grey: the networks of the TensorFlow listing."""
    generator = nn.Sequential(
        nn.Linear(100, 7 * 7 * 256, bias=False), nn.BatchNorm1d(7 * 7 * 256), nn.LeakyReLU(0.3),
        nn.Unflatten(1, (256, 7, 7)),
        nn.ConvTranspose2d(256, 128, 5, 1, 2, bias=False), nn.BatchNorm2d(128), nn.LeakyReLU(0.3),
        nn.ConvTranspose2d(128, 64, 5, 2, 2, 1, bias=False), nn.BatchNorm2d(64), nn.LeakyReLU(0.3),
        nn.ConvTranspose2d(64, 1, 5, 2, 2, 1, bias=False), nn.Tanh(),
    )  # fmt: skip
    discriminator = nn.Sequential(
        nn.Conv2d(1, 64, 5, 2, 2), nn.LeakyReLU(0.3), nn.Dropout(0.3),
        nn.Conv2d(64, 128, 5, 2, 2), nn.LeakyReLU(0.3), nn.Dropout(0.3),
        nn.Flatten(), nn.Linear(7 * 7 * 128, 1), nn.Sigmoid(),
    )  # fmt: skip
    return generator, discriminator


def example(ngf: int = 64, ndf: int = 64) -> tuple[nn.Module, nn.Module]:
    """For 64×64 colour: the networks of the example."""
    generator = nn.Sequential(
        nn.Unflatten(1, (100, 1, 1)),
        nn.ConvTranspose2d(100, ngf * 8, 4, 1, 0, bias=False), nn.BatchNorm2d(ngf * 8), nn.ReLU(True),
        nn.ConvTranspose2d(ngf * 8, ngf * 4, 4, 2, 1, bias=False), nn.BatchNorm2d(ngf * 4), nn.ReLU(True),
        nn.ConvTranspose2d(ngf * 4, ngf * 2, 4, 2, 1, bias=False), nn.BatchNorm2d(ngf * 2), nn.ReLU(True),
        nn.ConvTranspose2d(ngf * 2, ngf, 4, 2, 1, bias=False), nn.BatchNorm2d(ngf), nn.ReLU(True),
        nn.ConvTranspose2d(ngf, 3, 4, 2, 1, bias=False), nn.Tanh(),
    )  # fmt: skip
    discriminator = nn.Sequential(
        nn.Conv2d(3, ndf, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(ndf, ndf * 2, 4, 2, 1, bias=False), nn.BatchNorm2d(ndf * 2), nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(ndf * 2, ndf * 4, 4, 2, 1, bias=False), nn.BatchNorm2d(ndf * 4), nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(ndf * 4, ndf * 8, 4, 2, 1, bias=False), nn.BatchNorm2d(ndf * 8), nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(ndf * 8, 1, 4, 1, 0, bias=False), nn.Sigmoid(),
    )  # fmt: skip
    return generator, discriminator


def main(file: str, batch: int, seed: int, compiled: bool) -> None:
    torch.set_num_threads(threads())
    torch.manual_seed(seed)
    pictures = torch.from_numpy(np.load(file)).float() / 127.5 - 1
    netG, netD = small() if pictures.shape[1:] == (1, 28, 28) else example()
    if compiled:
        netG, netD = torch.compile(netG), torch.compile(netD)
    criterion = nn.BCELoss()
    optimizerD = optim.Adam(netD.parameters(), lr=0.0002, betas=(0.5, 0.999))
    optimizerG = optim.Adam(netG.parameters(), lr=0.0002, betas=(0.5, 0.999))

    def judged(x: Tensor) -> Tensor:
        return netD(x).view(-1, 1).squeeze(1)

    def step() -> None:
        netG.train()
        netD.zero_grad()
        real = pictures[torch.randint(len(pictures), (batch,))]
        label = torch.full((batch,), 1.0)
        errD_real = criterion(judged(real), label)
        errD_real.backward()
        fake = netG(torch.randn(batch, 100))
        label.fill_(0.0)
        errD_fake = criterion(judged(fake.detach()), label)
        errD_fake.backward()
        errD = errD_real + errD_fake
        optimizerD.step()
        netG.zero_grad()
        label.fill_(1.0)
        errG = criterion(judged(fake), label)
        errG.backward()
        optimizerG.step()
        errD.item(), errG.item()

    def sample() -> None:
        netG.eval()
        with torch.no_grad():
            netG(torch.randn(batch, 100))

    serve(f"torch {torch.__version__}", {"step": step, "sample": sample})


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:4]), compiled=sys.argv[4:] == ["compiled"])
