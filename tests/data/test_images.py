import io
import json
import re
import struct
import warnings
import zlib

import numpy as np
import pytest
import simplejpeg
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile

from limner.core.errors import DataError, LimnerError
from limner.data.images import (
    Header,
    ImageProblem,
    decode,
    fitted,
    grid,
    inspect,
    jpeg_decoder,
    read_recipe,
    save_animation,
    save_picture,
    to_bytes,
    to_image,
)

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (6, 9, 3), np.uint8)
GREY = NOISE[:, :, 0]


def _png(width, height, depth=8, colour=2, body=b"", more=None):
    """A PNG written by hand, with a header that may lie. more: a chunk before the pixels."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = (chunk(*more) if more else b"") + chunk(b"IDAT", zlib.compress(body))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + pixels + chunk(b"IEND", b"")


def _tiff(values, **options):
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, **options)
    return stream.getvalue()


# --- every kind of picture --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["PNG", "WEBP", "BMP", "TIFF"])
def test_lossless_formats_come_back_as_they_were(encode, format):
    data = encode(NOISE, format, **({"lossless": True} if format == "WEBP" else {}))
    assert (decode(data) == NOISE.transpose(2, 0, 1)).all()
    assert inspect(data) == Header(9, 6, colour=True)


def test_jpeg_comes_back_nearly(encode):
    smooth = np.broadcast_to(np.linspace(0, 255, 64, dtype=np.uint8)[:, None, None], (64, 64, 3))
    picture = decode(encode(np.ascontiguousarray(smooth), "JPEG", quality=95))
    assert picture.shape == (3, 64, 64)
    assert np.abs(picture.astype(int) - smooth.transpose(2, 0, 1)).max() < 8


KINDS = {
    "444": {"subsampling": 0}, "422": {"subsampling": 1}, "420": {"subsampling": 2}, "worst": {"quality": 1},
    "progressive": {"progressive": True}, "restarts": {"restart_marker_blocks": 3}, "rgb": {"keep_rgb": True},
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_jpeg_has_the_pixels_that_another_decoder_gives(encode, kind):
    photo = Image.fromarray(NOISE).resize((203, 157), Image.Resampling.BICUBIC)
    for picture in (photo, (33, 47), (1, 1), (7, 9)):
        data = encode(picture, "JPEG", **KINDS[kind])
        assert inspect(data).jpeg
        assert (decode(data) == simplejpeg.decode_jpeg(data).transpose(2, 0, 1)).all()


def test_what_decodes_jpegs_is_said():
    assert re.fullmatch(r"Pillow \d+\.\d+\.\d+, libjpeg(-turbo \d+\.\d+\.\d+| \d+\.\d+)", jpeg_decoder())


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "GIF"])
def test_grey_stays_grey(encode, format):
    data = encode(GREY, format)
    assert (decode(data) == GREY).all() and decode(data).shape == (1, 6, 9)
    assert inspect(data) == Header(9, 6, colour=False)


def test_channels_are_made_as_asked(encode):
    assert (decode(encode(GREY), channels=3) == GREY).all() and decode(encode(GREY), channels=3).shape == (3, 6, 9)
    luma = NOISE @ np.array([0.299, 0.587, 0.114])
    assert np.abs(decode(encode(NOISE), channels=1)[0] - luma).max() <= 1


def test_one_bit(encode):
    data = encode(np.where(GREY > 127, 255, 0).astype(np.uint8), mode="1")
    assert (decode(data) == np.where(GREY > 127, 255, 0)).all()


def test_transparency_is_laid_on_white(encode):
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0] = [[255, 0, 0, 255], [255, 0, 0, 0], [0, 0, 0, 128]]
    data = encode(rgba)
    assert decode(data)[:, 0].T.tolist() == [[255, 0, 0], [255, 255, 255], [127, 127, 127]]
    assert inspect(data).oddities == ("is transparent: laid on white",)
    la = np.array([[[10, 255], [10, 0]]], np.uint8)
    assert decode(encode(la)).tolist() == [[[10, 255]]]
    assert not inspect(encode(la)).colour


def test_palette_with_and_without_transparency(encode):
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    assert decode(encode(image))[:, 0].T.tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    assert decode(encode(image, transparency=1))[:, 0].T.tolist() == [[255, 0, 0], [255, 255, 255], [0, 0, 255]]
    assert decode(encode(image, transparency=b"\x00\xff\x80"))[:, 0].T.tolist()[0] == [255, 255, 255]


def test_grey_and_rgb_with_a_transparent_value(encode):
    assert decode(encode(np.array([[5, 9]], np.uint8), transparency=9)).tolist() == [[[5, 255]]]
    rgb = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    assert decode(encode(rgb, transparency=(1, 2, 3)))[:, 0].T.tolist() == [[255, 255, 255], [4, 5, 6]]


def test_a_transparent_value_of_sixteen_bits_is_laid_on_white():
    body = b"\0" + struct.pack(">3H", 257, 514, 515)
    data = _png(3, 1, depth=16, colour=0, body=body, more=(b"tRNS", struct.pack(">H", 514)))
    assert decode(data).tolist() == [[[1, 255, 2]]]
    assert inspect(data).oddities == ("has 16 bits: brought to 8", "is transparent: laid on white")


def test_sixteen_bits_of_grey_with_transparency_are_grey():
    body = b"\0" + struct.pack(">4H", 257 * 10, 65535, 257 * 20, 0)
    data = _png(2, 1, depth=16, colour=4, body=body)
    assert decode(data).tolist() == [[[10, 255]]]
    assert inspect(data) == Header(2, 1, False, ("is transparent: laid on white",))


def test_sixteen_bits_are_not_all_white(encode):
    deep = np.array([[0, 257, 32768, 65535]], np.uint16)
    expected = [[[0, 1, 128, 255]]]
    assert decode(encode(deep)).tolist() == expected
    assert decode(_tiff(deep)).tolist() == expected and decode(_tiff(deep, byteorder=">")).tolist() == expected
    assert inspect(encode(deep)) == Header(4, 1, False, ("has 16 bits: brought to 8",))


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
def test_a_tiff_whose_white_is_zero_is_no_negative(options):
    for values in (np.uint8([[0, 5, 255]]), np.uint16([[0, 5 * 257, 65535]]), np.float32([[0, 5 / 255, 1]])):
        assert decode(_tiff(values, photometric="miniswhite", **options)).tolist() == [[[255, 250, 0]]]


def test_thirty_two_bits_and_floats_are_taken_by_their_range():
    for dtype in (np.int32, np.float32):
        assert decode(_tiff(np.array([[0, 100, 255]], dtype))).tolist() == [[[0, 100, 255]]]
        assert decode(_tiff(np.array([[-10, 0, 10]], dtype))).tolist() == [[[0, 128, 255]]]
    assert decode(_tiff(np.array([[0, 257, 65535]], np.int32))).tolist() == [[[0, 1, 255]]]
    assert decode(_tiff(np.array([[0, 0.2, 1]], np.float32))).tolist() == [[[0, 51, 255]]]
    assert decode(_tiff(np.full((2, 2), -3.0, np.float32))).tolist() == [[[0, 0], [0, 0]]]
    assert decode(_tiff(np.array([[0, np.nan]], np.float32))) == ImageProblem(
        "is damaged (it holds values that are not finite numbers)"
    )


def test_cmyk_becomes_rgb(encode):
    image = Image.new("CMYK", (4, 4), (0, 255, 255, 0))
    for format in ("JPEG", "TIFF"):
        red, green, blue = decode(encode(image, format))[:, 2, 2]
        assert red > 240 and green < 15 and blue < 15
        assert inspect(encode(image, format)).oddities == ("is CMYK: brought to RGB",)


AS_IT_WAS = {
    "JPEG": {"quality": 100, "subsampling": 0}, "PNG": {}, "WEBP": {"lossless": True}, "TIFF": {},
    "TIFF, packed": {"compression": "tiff_lzw"},
}  # fmt: skip


@pytest.mark.parametrize("kind", AS_IT_WAS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(encode, orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(NOISE, kind.split(",")[0], exif=exif, **AS_IT_WAS[kind])
    rows = [
        NOISE, NOISE[:, ::-1], NOISE[::-1, ::-1], NOISE[::-1],
        NOISE.transpose(1, 0, 2), np.rot90(NOISE, -1), NOISE[::-1, ::-1].transpose(1, 0, 2), np.rot90(NOISE),
    ]  # fmt: skip
    expected = rows[orientation - 1]
    assert np.abs(decode(data).astype(int) - expected.transpose(2, 0, 1)).max() <= (3 if kind == "JPEG" else 0)
    header = inspect(data)
    assert (header.height, header.width) == expected.shape[:2]
    assert header.oddities == (() if orientation == 1 else ("is turned as its EXIF says",))


def _with_a_chunk_last(data, name, body):
    """A PNG with a chunk more after its pixels, as ExifTool and ImageMagick write them."""
    chunk = struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return data[:-12] + chunk + data[-12:]


@pytest.mark.parametrize(
    ("place", "decodes"), [("first", False), ("last", True), ("nowhere", False), ("nowhere, with a date", False)]
)
def test_the_header_of_a_png_is_read_without_its_pixels(encode, monkeypatch, place, decodes):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(NOISE, exif=exif) if place == "first" else encode(NOISE)
    if place == "last":
        data = _with_a_chunk_last(data, b"eXIf", exif.tobytes()[6:])
    elif "date" in place:
        data = _with_a_chunk_last(data, b"tEXt", b"date:create\0" + b"2026-01-01")
    turned = "nowhere" not in place
    assert (decode(data) == (np.rot90(NOISE, -1) if turned else NOISE).transpose(2, 0, 1)).all()
    decoded = []
    load = ImageFile.ImageFile.load
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: decoded.append(image) or load(image))
    header = Header(6, 9, True, ("is turned as its EXIF says",)) if turned else Header(9, 6, True)
    assert inspect(data) == header and bool(decoded) == decodes


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
@pytest.mark.parametrize("colour", [False, True])
def test_a_palette_says_whether_there_is_colour_without_the_pixels(encode, monkeypatch, kind, colour):
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    image.putpalette([9, 9, 9, 0, 0, 0, 5, 5, 6 if colour else 5])
    data = encode(image, kind)
    assert len(decode(data)) == (3 if colour else 1)
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)
    assert inspect(data) == Header(3, 1, colour)


D50 = (0.9642, 1.0, 0.8249)
ADOBE = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
"""Adobe RGB (1998) to XYZ under D50, as its specification has it; gamma is 563/256."""
SRGB = np.array(
    [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
)
"""sRGB to XYZ under D50, by Bruce Lindbloom."""


def _profile(space, gamma):
    """An ICC profile of version 2 written by hand, of Adobe's colours or of grey."""

    def fixed(*values):
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    curve = b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(gamma * 256), 0)
    tags = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"mine\0" + bytes(79),
            b"cprt": b"text\0\0\0\0none", b"wtpt": b"XYZ \0\0\0\0" + fixed(*D50)}  # fmt: skip
    if space == b"GRAY":
        tags[b"kTRC"] = curve
    else:
        for letter, column in zip((b"r", b"g", b"b"), ADOBE.T, strict=True):
            tags[letter + b"TRC"], tags[letter + b"XYZ"] = curve, b"XYZ \0\0\0\0" + fixed(*column)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(
        ">I4xI4s4s4s12x4s24x", 132 + 12 * len(tags) + len(body), 0x02400000, b"mntr", space, b"XYZ ", b"acsp"
    )
    return (head + fixed(*D50)).ljust(128, b"\0") + table + body


def _as_seen_in_srgb(linear):
    linear = np.clip(linear, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_colours_of_another_space_are_brought_to_srgb(encode, kind):
    profile = _profile(b"RGB ", 563 / 256)
    for colour in [(100, 180, 100), (200, 60, 60), (128, 128, 128), (0, 255, 0), (250, 240, 90)]:
        seen = _as_seen_in_srgb(np.linalg.inv(SRGB) @ ADOBE @ (np.array(colour) / 255) ** (563 / 256))
        data = encode(Image.new("RGB", (8, 8), colour), kind, icc_profile=profile, **AS_IT_WAS[kind])
        assert np.abs(decode(data)[:, 4, 4] - seen).max() < (4 if kind == "JPEG" else 2)
        assert inspect(data).oddities == ("has a colour profile: brought to sRGB",)


def test_greys_transparency_and_palettes_have_profiles_too(encode):
    profile = _profile(b"GRAY", 1.8)
    levels = np.arange(256, dtype=np.uint8)[None]
    grey = decode(encode(levels, icc_profile=profile))
    assert grey.shape == (1, 1, 256) and np.abs(grey[0] - _as_seen_in_srgb((levels / 255) ** 1.8)).max() < 2
    clear = Image.merge(
        "LA", [Image.fromarray(levels), Image.fromarray(np.where(levels > 99, 255, 0).astype(np.uint8))]
    )
    assert (decode(encode(clear, icc_profile=profile)) == np.where(levels > 99, grey, 255)).all()
    adobe = _profile(b"RGB ", 563 / 256)
    plain = decode(encode(NOISE, icc_profile=adobe))
    rgba = Image.fromarray(NOISE).convert("RGBA")
    assert (decode(encode(rgba, icc_profile=adobe)) == plain).all() and (plain != NOISE.transpose(2, 0, 1)).any()
    few = Image.fromarray(NOISE // 64 * 64)
    assert (
        decode(encode(few.quantize(64), icc_profile=adobe))
        == decode(encode(few.quantize(64).convert("RGB"), icc_profile=adobe))
    ).all()


def test_srgb_by_any_name_and_a_profile_of_other_colours_change_nothing(encode):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for data, values in (
        (encode(NOISE, icc_profile=srgb), NOISE.transpose(2, 0, 1)),
        (encode(NOISE, icc_profile=_profile(b"GRAY", 1)), NOISE.transpose(2, 0, 1)),
        (encode(GREY, icc_profile=_profile(b"RGB ", 1)), GREY),
    ):
        assert (decode(data) == values).all() and inspect(data).oddities == ()


@pytest.mark.parametrize("profile", [b"no profile", _profile(b"RGB ", 2)[:200], bytes(5 << 20)])
def test_a_profile_that_cannot_be_read_is_told(encode, profile):
    data = encode(NOISE, "TIFF", icc_profile=profile)
    assert (decode(data) == NOISE.transpose(2, 0, 1)).all()
    assert inspect(data).oddities == ("has a colour profile that can't be read: taken for sRGB",)


def test_mutations_of_a_profile_give_an_answer(encode):
    chance = np.random.default_rng(2)
    for _ in range(200):
        broken = bytearray(_profile(b"RGB ", 2))
        for _ in range(chance.integers(1, 8)):
            broken[chance.integers(len(broken))] = chance.integers(256)
        data = encode(NOISE, "TIFF", icc_profile=bytes(broken))
        assert decode(data).shape == (3, 6, 9) and isinstance(inspect(data), Header)


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(encode, format):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encode(frames[0], format, save_all=True, append_images=frames[1:])
    red, _, blue = decode(data)[:, 4, 4]
    assert red > 240 and blue < 15
    assert inspect(data).oddities == ("has several frames: the first is used",)


# --- sizes ------------------------------------------------------------------------------------------------------------


def test_crop_takes_the_middle():
    wide = Image.fromarray(np.tile(np.arange(12, dtype=np.uint8), (4, 1)))
    assert np.asarray(fitted(wide, (4, 4), "crop")).tolist() == [[4, 5, 6, 7]] * 4


def test_pad_shows_the_whole_on_white():
    wide = Image.new("L", (8, 4), 0)
    assert np.asarray(fitted(wide, (8, 8), "pad"))[:, 0].tolist() == [255, 255, 0, 0, 0, 0, 255, 255]
    assert np.asarray(fitted(Image.new("RGB", (1, 900), "red"), (4, 4), "pad")).shape == (4, 4, 3)


def test_stretch_uses_every_pixel():
    wide = Image.fromarray(np.repeat(np.array([[0, 200]], np.uint8), 4, axis=1).repeat(4, axis=0))
    assert np.asarray(fitted(wide, (4, 4), "stretch")).mean() == pytest.approx(100, abs=1)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_a_picture_of_the_size_is_not_touched(fit):
    image = Image.fromarray(NOISE)
    assert fitted(image, (6, 9), fit) is image


def test_making_smaller_is_antialiased():
    """A fine chequerboard becomes grey. Taking every eighth pixel would make it black or white."""
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    small = np.asarray(fitted(Image.fromarray(board), (8, 8), "crop"))
    assert np.abs(small.astype(int) - 127).max() <= 2


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.sampled_from(["crop", "pad", "stretch"]),
)
def test_any_shape_comes_to_any_size(was, size, fit):
    assert np.asarray(fitted(Image.new("L", was, 9), size, fit)).shape == size


def test_a_large_jpeg_is_the_same_decoded_small(encode):
    photo = np.asarray(Image.fromarray(NOISE).resize((900, 600), Image.Resampling.BICUBIC))
    data = encode(photo, "JPEG", quality=95)
    quick = decode(data, size=(32, 32))
    slow = np.asarray(fitted(Image.fromarray(photo), (32, 32), "crop")).transpose(2, 0, 1)
    assert np.abs(quick.astype(int) - slow).mean() < 2


# --- what is no picture -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"  <!DOCTYPE html><html>", "is a web page or drawing, not a picture"),
        (b"<svg xmlns=", "is a web page or drawing, not a picture"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1", "is 'heic' inside, a format that is not read"),
        (b"hello", "is no picture of a known format, or its header is damaged"),
        (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            "is no picture of a known format, or its header is damaged",
        ),
    ],
)
def test_what_is_no_picture_says_so(data, reason):
    assert decode(data) == inspect(data) == ImageProblem(reason)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_a_picture_that_is_cut_short_is_named(encode, format):
    data = encode((64, 64), format)
    result = decode(data[: len(data) * 2 // 3])
    assert isinstance(result, ImageProblem)
    assert result.reason == "is cut short" or result.reason.startswith("is damaged (")


def test_a_header_beyond_the_limit_is_not_decoded():
    lie = _png(8193, 8193)
    problem = ImageProblem("is 8193×8193 px, more than the limit of 64 Mpx")
    assert decode(lie) == inspect(lie) == problem
    assert isinstance(decode(_png(100_000, 100_000)), ImageProblem)
    assert inspect(_png(65_535, 4_000)).reason.startswith(("is 65535", "has more pixels"))


def test_the_limit_can_be_set(encode):
    assert isinstance(decode(encode((10, 10)), pixels=99), ImageProblem)
    assert isinstance(decode(encode((10, 10)), pixels=100), np.ndarray)


def test_memory_stays_bounded_before_a_bomb():
    """A quarter-gigapixel PNG of 250 kB: refused by its header, with next to no memory."""
    import tracemalloc

    bomb = _png(16_000, 16_000, depth=1, colour=0, body=bytes(16_000 * 2001))
    assert len(bomb) < 300_000
    tracemalloc.start()
    assert isinstance(decode(bomb), ImageProblem)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_no_warning_of_pillow_reaches_anybody(encode):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        decode(_png(10_000, 9_000))
        decode(encode((8, 8), "TIFF")[:-40])
    assert caught == []


@settings(max_examples=80, deadline=None)
@given(
    st.binary(max_size=400), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\0", b"BM", b"\xff\xd8\xff"])
)
def test_any_bytes_give_an_answer(data, magic):
    for answer in (decode(magic + data), inspect(magic + data)):
        assert isinstance(answer, np.ndarray | Header | ImageProblem)


@pytest.fixture(scope="module")
def real_files():
    """One of each format and mode, to be mutated."""
    made = []
    picture = Image.fromarray(RNG.integers(0, 256, (24, 24, 4), np.uint8))
    for format, modes in {
        "JPEG": ("L", "RGB", "CMYK"), "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"), "WEBP": ("RGB", "RGBA"),
        "BMP": ("L", "P", "RGB"), "TIFF": ("L", "RGB", "CMYK", "F"), "GIF": ("L", "P"),
    }.items():  # fmt: skip
        for mode in modes:
            stream = io.BytesIO()
            deep = Image.fromarray(RNG.integers(0, 1 << 16, (24, 24), np.uint16))
            (deep if mode == "I;16" else picture.convert(mode)).save(stream, format)
            made.append(stream.getvalue())
    return made


def test_mutations_of_real_files_give_an_answer(real_files):
    chance = np.random.default_rng(1)
    for data in real_files:
        assert isinstance(decode(data), np.ndarray)
        for _ in range(40):
            broken = bytearray(data)
            for _ in range(chance.integers(1, 8)):
                broken[chance.integers(len(broken))] = chance.integers(256)
            cut = len(broken) if chance.random() < 0.7 else chance.integers(len(broken))
            answer = decode(bytes(broken[:cut]), size=(8, 8), pixels=1 << 20)
            assert isinstance(answer, ImageProblem) or (answer.shape[1:] == (8, 8) and answer.dtype == np.uint8)


# --- pictures out -----------------------------------------------------------------------------------------------------


def test_floats_become_bytes():
    values = np.array([-2, -1, 0, 0.5, 1, 9], np.float32)
    assert to_bytes(values).tolist() == [0, 0, 128, 191, 255, 255]
    assert to_bytes(np.arange(256, dtype=np.uint8) / np.float32(127.5) - 1).tolist() == list(range(256))


def test_a_grid_lays_pictures_row_by_row():
    pictures = np.arange(5, dtype=np.uint8)[:, None, None, None].repeat(2, 2).repeat(3, 3)
    page = grid(pictures, columns=3, gap=1)
    assert page.shape == (1, 2 * 3 + 1, 3 * 4 + 1)
    assert page[0, 1].tolist() == [255, 0, 0, 0, 255, 1, 1, 1, 255, 2, 2, 2, 255]
    assert page[0, 4].tolist() == [255, 3, 3, 3, 255, 4, 4, 4, 255, 255, 255, 255, 255]
    assert grid(pictures).shape == (1, 2 * 4 + 2, 3 * 5 + 2)
    assert (grid(np.zeros((4, 3, 2, 2)), gap=0) == 128).all()


def test_a_saved_picture_carries_its_recipe(tmp_path):
    recipe = {"method": "dcgan", "seed": 3, "settings": {"lr": 1e-4, "name": "größe"}}
    save_picture(NOISE.transpose(2, 0, 1), tmp_path / "a" / "b.png", recipe)
    assert read_recipe(tmp_path / "a" / "b.png") == recipe
    assert (decode((tmp_path / "a" / "b.png").read_bytes()) == NOISE.transpose(2, 0, 1)).all()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.png"]


def test_the_same_picture_gives_the_same_file(tmp_path):
    for name in ("a.png", "b.png"):
        save_picture(GREY[None], tmp_path / name, {"b": 1, "a": 2})
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_foreign_or_damaged_picture_has_no_recipe(tmp_path, encode):
    (tmp_path / "foreign.png").write_bytes(encode((4, 4)))
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "photo.jpg").write_bytes(encode((4, 4), "JPEG"))
    for name in ("foreign.png", "text.png", "photo.jpg"):
        assert read_recipe(tmp_path / name) is None
    for text in ("not json", json.dumps([1]), "[" * 100_000):
        about = Image.new("L", (1, 1))
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add_text("limner", text)
        about.save(tmp_path / "odd.png", pnginfo=info)
        assert read_recipe(tmp_path / "odd.png") is None
    with pytest.raises(DataError, match=r"can't open .*none.png: no such file or directory"):
        read_recipe(tmp_path / "none.png")


def test_an_unwritable_place_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LimnerError, match=r"cannot write .*file/a.png"):
        save_picture(GREY[None], tmp_path / "file" / "a.png")


@pytest.mark.parametrize("channels", [1, 3])
def test_an_animation_repeats_for_ever(tmp_path, channels):
    levels = np.array([-1.0, 0.0, 1.0], np.float32)
    frames = np.broadcast_to(levels[:, None, None, None], (3, channels, 8, 8))
    save_animation(frames, tmp_path / "a.gif", milliseconds=100)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 3 and image.info["loop"] == 0 and image.info["duration"] == 100
        image.seek(2)
        assert np.asarray(image.convert("L")).min() > 250


def test_pillow_gets_what_it_shows():
    assert to_image(GREY[None]).mode == "L" and to_image(NOISE.transpose(2, 0, 1)).mode == "RGB"
    assert (np.asarray(to_image(NOISE.transpose(2, 0, 1))) == NOISE).all()
