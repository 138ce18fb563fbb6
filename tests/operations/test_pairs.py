"""Restored pictures beside their originals: known answers, and what goes wrong."""

import json

import numpy as np
import pytest
import skimage.data
import skimage.metrics
import torch
from PIL import Image, ImageFilter

import limner
from limner.core.errors import DataError, UsageError
from limner.core.events import Table
from limner.data.cache import finish
from limner.features import efficientnet
from limner.metrics.bicubic import imresize
from limner.metrics.perceptual import perceptual
from limner.reports.pairs import pairs


def saved(picture, path):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(picture).save(path)


@pytest.fixture
def folders(tmp_path):
    """scikit-image's camera and a part of its cat, and both after bicubic halving and doubling."""
    for name, picture in (("camera", skimage.data.camera()), ("cat", skimage.data.chelsea()[:120, :150])):
        x = torch.from_numpy(picture)
        x = x[None, None] if x.dim() == 2 else x.permute(2, 0, 1)[None]
        restored = imresize(imresize(x, 0.5), 2)[0]
        saved(restored.permute(1, 2, 0).squeeze(-1).numpy(), tmp_path / "restored" / f"{name}.png")
        saved(picture, tmp_path / "originals" / f"{name}.png")
    return tmp_path / "restored", tmp_path / "originals"


def go(*folders, **choices):
    return list(limner.evaluate(*folders, **choices))


def test_published_and_independent_figures(folders, tmp_path):
    events = go(*folders, metrics=["psnr", "ssim"], border=2, out=tmp_path / "page")
    report = json.loads((tmp_path / "page" / "report.json").read_text())
    by_name = {row["picture"]: row for row in report["pictures"]}
    assert by_name["camera"]["PSNR-Y"] == pytest.approx(29.89, abs=0.005)  # the published bicubic ×2 figure
    a, b = (np.asarray(Image.open(folder / "cat.png"))[2:-2, 2:-2] for folder in folders)
    assert by_name["cat"]["PSNR"] == pytest.approx(skimage.metrics.peak_signal_noise_ratio(b, a), abs=1e-9)
    c, d = (np.asarray(Image.open(folder / "camera.png"))[2:-2, 2:-2] for folder in folders)
    theirs = skimage.metrics.structural_similarity(
        c, d, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )[1][5:-5, 5:-5].mean()
    assert by_name["camera"]["SSIM-Y"] == pytest.approx(theirs, abs=1e-9)
    assert "PSNR" not in by_name["camera"]  # grey has Y alone
    assert report["figures"]["PSNR-Y"] == pytest.approx(np.mean([row["PSNR-Y"] for row in by_name.values()]))
    assert [row["picture"] for row in report["pictures"]] == ["camera", "cat"]  # worst first
    table = next(event for event in events if isinstance(event, Table))
    assert table.rows[0][:3] == ("PSNR-Y", f"{report['figures']['PSNR-Y']:.2f}", "higher")
    page = (tmp_path / "page" / "report.html").read_text()
    assert page.count("data:image/png") == 4 and "2 px were cut from each side" in page


def test_small_pictures_are_left_out_of_what_needs_large_ones(folders, tmp_path):
    table = next(e for e in go(*folders, metrics=["psnr", "ms_ssim"], out=tmp_path / "page") if isinstance(e, Table))
    assert "MS-SSIM-Y is of 1 of 2 pictures; the others are too small, or grey" in table.notes


def test_a_figure_that_no_picture_is_large_enough_for_is_missed_aloud(tmp_path):
    for folder in "ab":
        saved(np.full((8, 8), ord(folder), np.uint8), tmp_path / folder / "one.png")
    table = next(e for e in go(tmp_path / "a", tmp_path / "b", metrics=["psnr", "ssim"], out=tmp_path / "page")
                 if isinstance(e, Table))  # fmt: skip
    assert "there is no SSIM-Y: it takes pictures of 11 px and more" in table.notes
    with pytest.raises(UsageError, match="are too small for ssim"):
        go(tmp_path / "a", tmp_path / "b", metrics=["ssim"], out=tmp_path / "none")


def test_a_picture_that_is_too_small_for_every_figure_spoils_no_others(folders, tmp_path):
    events = go(*folders, metrics=["ms_ssim"], out=tmp_path / "page")
    table = next(event for event in events if isinstance(event, Table))
    assert "MS-SSIM-Y is of 1 of 2 pictures; the others are too small, or grey" in table.notes
    report = json.loads((tmp_path / "page" / "report.json").read_text())
    assert [row["picture"] for row in report["pictures"]] == ["camera", "cat"]
    assert "cat" in (tmp_path / "page" / "report.html").read_text()


def test_equal_pictures(folders, tmp_path):
    *_, done = go(folders[1], folders[1], metrics=["psnr", "ssim"], out=tmp_path / "page")
    assert done.values["figures"]["PSNR-Y"] is None and done.values["figures"]["SSIM-Y"] == pytest.approx(1)
    assert "∞" in (tmp_path / "page" / "report.html").read_text()


@pytest.mark.parametrize(("spoil", "kind", "says"), [
    (lambda a, b: (b / "cat.png").unlink(), UsageError, "cat.png has no partner called cat.*"),
    (lambda a, b: saved(np.zeros((9, 9), np.uint8), b / "cat.png"), UsageError, "its original 9×9 px"),
    (lambda a, b: (b / "cat.png").write_bytes(b"<html>"), DataError, "cat.png"),
    (lambda a, b: (b / "cat.jpg").write_bytes((b / "cat.png").read_bytes()), UsageError, "cat.jpg and cat.png"),
    (lambda a, b: [file.unlink() for file in a.iterdir()], DataError, "no images in"),
])  # fmt: skip
def test_what_goes_wrong(folders, tmp_path, spoil, kind, says):
    spoil(*folders)
    with pytest.raises(kind) as caught:
        go(*folders, metrics=["psnr"], out=tmp_path / "page")
    assert says in caught.value.message and not (tmp_path / "page").exists()


def test_sets_and_pairs_are_not_mixed(folders):
    with pytest.raises(UsageError, match="fd compares sets of pictures, and psnr pairs"):
        go(*folders, metrics=["psnr", "fd"])
    with pytest.raises(UsageError, match="with their originals"):
        go(folders[0], metrics=["psnr"])


@pytest.mark.parametrize(
    "choice", [{"samples": 2}, {"seeds": 5}, {"seed": 1}, {"features": "tiny"}, {"size": 8}], ids=str
)
def test_choices_of_sets_are_refused(folders, choice):
    with pytest.raises(UsageError, match=f"--{next(iter(choice))} says nothing where pictures are compared one by one"):
        go(*folders, metrics=["psnr"], **choice)


@pytest.mark.parametrize(
    "offs", [[3, 9, 1, 7, 5, 8, 2, 6, 4], [9, 8, 7, 6, 5, 4, 3, 2, 1], [1, 2, 3, 4, 5, 6, 7, 8, 9]]
)
def test_the_worst_come_first_and_they_alone_stay_in_memory(tmp_path, offs):
    grey = np.full((1, 8, 8), 128, np.uint8)
    for i, off in enumerate(offs):
        for folder, picture in (("a", grey + np.uint8(off)), ("b", grey)):
            saved(picture[0], tmp_path / folder / f"{i}.png")
    found = finish(pairs(str(tmp_path / "a"), str(tmp_path / "b"), ["psnr"], 0, None))
    assert [offs[int(pair.name)] for pair in found] == [9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert [pair.made is not None for pair in found] == [True] * 6 + [False] * 3


# --- the perceptual distance ------------------------------------------------------------------------------------------


def test_perceptual_by_hand():
    a, b = torch.tensor([[[[3.0, 0.0]], [[4.0, 2.0]]]]), torch.tensor([[[[4.0, 0.0]], [[3.0, 5.0]]]])
    # Unit vectors (.6, .8) against (.8, .6), and equal directions: (.04 + .04 + 0) / 2 places; two layers add.
    assert perceptual([a, a], [b, b]).item() == pytest.approx(2 * 0.04)
    assert perceptual([a], [a * 7]).item() == pytest.approx(0, abs=1e-12)


def test_a_blur_looks_worse_than_a_shade():
    """The distortion that squared error cannot tell: equal PSNR, and only one of them hurts the eye."""
    try:
        eye = efficientnet.load()
    except DataError as error:
        pytest.skip(f"offline: {error.message}")
    picture = Image.fromarray(skimage.data.astronaut()[:224, 100:324])
    original = np.asarray(picture).astype(np.float32)
    blurred = np.asarray(picture.filter(ImageFilter.GaussianBlur(2))).astype(np.float32)
    shaded = original + np.sqrt(((blurred - original) ** 2).mean()) * np.where(original < 128, 1, -1)

    def maps(array):
        with torch.inference_mode():
            return eye.maps(torch.from_numpy(array).permute(2, 0, 1)[None] / 127.5 - 1)

    assert ((shaded - original) ** 2).mean() == pytest.approx(((blurred - original) ** 2).mean(), rel=1e-3)
    at = maps(original)
    assert perceptual(at, maps(blurred)) > 2 * perceptual(at, maps(shaded)) > 0
    assert [x.shape[1:] for x in at] == [
        (16, 112, 112), (24, 56, 56), (40, 28, 28), (80, 14, 14), (112, 14, 14), (192, 7, 7), (320, 7, 7)
    ]  # fmt: skip
