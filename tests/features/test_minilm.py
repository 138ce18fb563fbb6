"""The sentence encoder beside Hugging Face's: transformers 5.23.0 and tokenizers 0.23.3, torch 2.13, printed the
numbers below on 2026-11-23 from the same weights' file (BertModel, mean over the word pieces, length 1)."""

import pytest
import torch

from limner.core.errors import DataError
from limner.data.cache import finish
from limner.data.sources import open_data
from limner.features import minilm
from limner.features.captions import embedded
from limner.features.minilm import MiniLM, split, words

PIECES = {
    "a red apple": [101, 1037, 2417, 6207, 102],
    "An Éclair, s'il vous plaît!":
        [101, 2019, 14925, 19771, 2099, 1010, 1055, 1005, 6335, 29536, 2271, 20228, 4886, 2102, 999, 102],
    "北京 is Beijing; 3.14 & x@y.z":
        [101, 1781, 1755, 2003, 7211, 1025, 1017, 1012, 2403, 1004, 1060, 1030, 1061, 1012, 1062, 102],
    "unaffable supercalifragilisticexpialidocious \u200b\ttabs":
        [101, 14477, 20961, 3468, 3565, 9289, 10128, 29181, 24411, 4588, 10288, 19312, 21273, 10085, 6313, 21628,
         2015, 102],
    "🍎 emoji": [101, 100, 7861, 29147, 2072, 102],
    "ΣΊΣΥΦΟΣ İstanbul": [101, 1173, 18199, 29733, 29735, 29736, 29730, 29733, 9960, 102],
    "naïve café — “quotes” … ﬁ": [101, 15743, 7668, 1517, 1523, 16614, 1524, 1529, 1984, 102],
    "x" * 120: [101, 100, 102],
    "": [101, 102],
}  # fmt: skip
BEGINNINGS = {
    "a red apple": [0.00404, 0.013597, -0.042827, 0.063014, -0.044489, 0.006735],
    "apple": [-0.006139, 0.031012, 0.064794, 0.010942, 0.005267, -0.047476],
    "car": [-0.033278, 0.105793, 0.018869, 0.051948, -0.037466, 0.03124],
    "ΣΊΣΥΦΟΣ İstanbul": [0.086454, 0.034649, 0.052366, 0.066663, -0.147041, 0.016129],
}


@pytest.fixture(scope="module")
def encoder() -> MiniLM:
    try:
        return minilm.load()
    except DataError as error:
        pytest.skip(f"offline: {error.message}")


@pytest.mark.parametrize("sentence", PIECES, ids=lambda sentence: sentence[:12])
def test_word_pieces_are_hugging_face_s(encoder: MiniLM, sentence: str) -> None:
    assert encoder.numbers(sentence) == PIECES[sentence]


def test_vectors_are_hugging_face_s(encoder: MiniLM) -> None:
    found = encoder.embed(list(BEGINNINGS))
    assert found.shape == (4, 384)
    torch.testing.assert_close(found[:, :6], torch.tensor(list(BEGINNINGS.values())), atol=2e-6, rtol=0)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(4))
    apple, car = (found[0] @ found[i] for i in (1, 2))
    assert apple.item() == pytest.approx(0.6374, abs=1e-4) and car.item() == pytest.approx(0.2916, abs=1e-4)


def test_a_sentence_does_not_depend_on_the_others(encoder: MiniLM) -> None:
    together = encoder.embed(["car", "a far longer sentence than the other one", ""])
    torch.testing.assert_close(together[:1], encoder.embed(["car"]), atol=1e-6, rtol=0)


def test_long_sentences_are_cut(encoder: MiniLM) -> None:
    assert len(encoder.numbers("word " * 400)) == 256


def test_words_are_small_and_alone() -> None:
    assert words("Don't  stop—Zoë\x00!") == ["don", "'", "t", "stop", "—", "zoe", "!"]
    assert words("a\u00a0b\nc") == ["a", "b", "c"]


def test_a_word_is_its_longest_pieces() -> None:
    pieces = {piece: i for i, piece in enumerate(("un", "##aff", "##able", "##a", "unaf"))}
    assert split("unaffable", {**pieces, "##fable": 9}) == ["unaf", "##fable"]
    # The longest beginning is taken and not given back, even where another one would have led to the end.
    assert split("unaffable", pieces) == ["[UNK]"]
    assert split("unable", pieces) == ["un", "##able"]


def test_captions_are_read_once(encoder: MiniLM, tmp_path, monkeypatch) -> None:
    import numpy as np

    from limner.data.pack import open_pack, write_pack

    captions = ["a red apple", "car", "apple"]
    folder = tmp_path / "pack"
    folder.mkdir()
    write_pack(folder, np.zeros((3, 1, 8, 8), np.uint8), None, captions, name="three", source="a test")
    dataset = open_pack(folder)
    assert dataset.signal.text == 384 and "text" not in dataset.take(np.array([0]))
    monkeypatch.setattr("limner.data.cache.user_cache_path", lambda *a, **k: tmp_path / "cache")
    monkeypatch.setattr(minilm, "load", lambda: encoder)
    monkeypatch.setattr(minilm, "fetch", lambda: iter(()))
    monkeypatch.delenv("LIMNER_CACHE", raising=False)
    first = finish(embedded(dataset))
    torch.testing.assert_close(first.take(np.array([2, 0]))["text"], encoder.embed(["apple", "a red apple"]))
    monkeypatch.setattr(minilm, "load", lambda: pytest.fail("read a second time"))
    again = finish(embedded(dataset))
    assert (again.text == first.text).all()


def test_the_captions_of_emoji_lie_near_what_they_mean(encoder: MiniLM) -> None:
    """Of 131 things to eat or drink, a red apple lies nearest to its plain description, and another apple next."""
    from limner.data.cache import cache_folder

    if not (cache_folder() / "packs" / "emoji").is_dir():
        pytest.skip("emoji are not in this machine's cache (limner prepare emoji)")
    dataset = finish(open_data("emoji"))
    some = [caption for caption, label in zip(dataset.captions, dataset.labels, strict=True) if label == 4]
    assert len(some) == 131
    near = (encoder.embed(some) @ encoder.embed(["a red apple"])[0]).argsort(descending=True)
    assert some[int(near[0])].startswith("red apple") and "apple" in some[int(near[1])]
