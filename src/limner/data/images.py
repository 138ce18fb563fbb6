"""Pictures in and out: bytes of any kind to arrays, and arrays to PNG and GIF.

The decoder takes bytes that nobody vouches for. It answers with an array or an ImageProblem, never with another
exception, and looks at the header before it decodes, so that a small file can't fill the memory.
"""

import contextlib
import functools
import io
import json
import threading
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import PIL
from numpy.typing import ArrayLike
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin, UnidentifiedImageError, features

from limner.core.errors import DataError
from limner.core.files import atomic

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
"""What is read. The list is short on purpose: every other decoder is a hole less."""
EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
PIXELS = 64 << 20
"""Most pixels a picture may have, unless more are asked for."""
_BIG = 16 << 20
"""Pictures with more pixels than this are decoded one at a time, which bounds the memory."""

Fit = Literal["crop", "pad", "stretch"]
_WHITE = 255
_ORIENTATION = 0x0112
_PHOTOMETRIC = 262
_METADATA = (b"Raw profile type exif", b"XML:com.adobe.xmp")
"""Texts of a PNG that may tell its orientation."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_LARGEST_PROFILE = 4 << 20
"""Bytes of a colour profile that is read; those of printing presses have 2 MB."""
_SAME = 2
"""A profile that moves no value by more than this is sRGB, whatever it calls itself."""
_PROFILED = {"RGB": "RGB", "RGBA": "RGB", "P": "RGB", "PA": "RGB", "L": "L", "LA": "L", "CMYK": "CMYK"}
"""Modes that a profile may be about, each with the one of its colours alone."""
_SPACES = {"RGB": "RGB ", "L": "GRAY", "CMYK": "CMYK"}
_GREY_MODES = ("1", "L", "LA", "La", "I", "F")


@dataclass(frozen=True)
class ImageProblem:
    """Why bytes did not become a picture. reason: the rest of a sentence that begins with the file's name."""

    reason: str


@dataclass(frozen=True)
class Header:
    """What a picture says of itself before it is decoded.

    width, height  in px, as it is meant to be seen (EXIF orientation applied)
    colour         false for grey
    oddities       what is unusual about it, and what is done about it
    jpeg           whether it is a JPEG, whose pixels depend on who decodes them (see `jpeg_decoder`)
    """

    width: int
    height: int
    colour: bool
    oddities: tuple[str, ...] = ()
    jpeg: bool = False


def inspect(file: BinaryIO | bytes, pixels: int = PIXELS) -> Header | ImageProblem:
    """Read a picture's header.

    file    the picture's bytes, or a file to read them from
    pixels  most pixels it may have
    """
    stream = io.BytesIO(file) if isinstance(file, bytes) else file
    with _quiet():
        try:
            with Image.open(stream, formats=FORMATS) as image:
                if problem := _too_large(image, pixels):
                    return problem
                colour = _is_colour(image)
                if image.format == "PNG" and _is_told_more_after_its_pixels(stream):
                    with contextlib.suppress(Exception):  # what is wrong with the pixels, decoding will tell
                        image.load()
                width, height = image.size
                if _orientation(image) >= 5 and image.format != "TIFF":  # of a TIFF, Pillow gives the upright size
                    width, height = height, width
                jpeg = image.format in ("JPEG", "MPO")
                return Header(width, height, colour, tuple(_oddities(image)), jpeg)
        except Exception as error:
            return _explained(error, stream)


def decode(
    data: bytes,
    *,
    channels: int | None = None,
    size: tuple[int, int] | None = None,
    fit: Fit = "crop",
    pixels: int = PIXELS,
) -> np.ndarray | ImageProblem:
    """A picture's bytes as an array. Transparent parts are laid on white; of an animation, the first frame is taken.

    Colours are brought to sRGB from the space that an ICC profile names. 16-bit values are divided by 257. Float and
    32-bit values are taken as 0-1, 0-255 or (32-bit) 0-65,535 where they lie within, and are otherwise stretched from
    their least to their greatest. EXIF orientation is applied.

    data      the file
    channels  1 grey, 3 colour; the picture's own where it is not given
    size      (H, W) in px that it is brought to
    fit       how, see `fitted`
    pixels    most pixels it may have before that
    returns   (C, H, W)  uint8
    """
    stream = io.BytesIO(data)
    with _quiet():
        try:
            with Image.open(stream, formats=FORMATS) as image:
                if problem := _too_large(image, pixels):
                    return problem
                with _one_at_a_time if image.width * image.height > _BIG else contextlib.nullcontext():
                    return to_array(fitted(_upright(image, size), size, fit), channels)
        except Exception as error:
            return _explained(error, stream)


def fitted(image: Image.Image, size: tuple[int, int] | None, fit: Fit) -> Image.Image:
    """A picture brought to a size, antialiased (Lanczos).

    size  (H, W) in px, or None to leave it as it is
    fit   "crop"     the largest middle part of the right shape
          "pad"      the whole picture, on white
          "stretch"  the whole picture, out of shape if need be
    """
    if size is None or image.size == size[::-1]:
        return image
    height, width = size
    if fit == "stretch":
        return image.resize((width, height), Image.Resampling.LANCZOS)
    if fit == "crop":
        scale = min(image.width / width, image.height / height)
        left = int((image.width - width * scale) / 2)
        top = int((image.height - height * scale) / 2)
        box = (left, top, min(left + width * scale, image.width), min(top + height * scale, image.height))
        return image.resize((width, height), Image.Resampling.LANCZOS, box=box)
    scale = max(image.width / width, image.height / height)
    inner = (max(1, round(image.width / scale)), max(1, round(image.height / scale)))
    page = Image.new(image.mode, (width, height), "white")
    page.paste(image.resize(inner, Image.Resampling.LANCZOS), ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return page


def to_array(image: Image.Image, channels: int | None = None) -> np.ndarray:
    """Pillow's picture as (C, H, W) uint8, with 1 or 3 channels if they are asked for."""
    if channels is not None:
        image = image.convert("L" if channels == 1 else "RGB")
    values: np.ndarray = np.asarray(image)
    if values.ndim == 2:
        values = values[:, :, None]
    planes: np.ndarray = np.ascontiguousarray(values.transpose(2, 0, 1))
    return planes


def jpeg_decoder() -> str:
    """What decodes JPEGs here, e.g. 'Pillow 13.0.0, libjpeg-turbo 3.2.0'."""
    turbo = features.version_feature("libjpeg_turbo")
    return f"Pillow {PIL.__version__}, " + (f"libjpeg-turbo {turbo}" if turbo else f"libjpeg {features.version('jpg')}")


def _upright(image: Image.Image, size: tuple[int, int] | None) -> Image.Image:
    """The decoded picture as L or RGB, turned as its EXIF says."""
    if size is not None and image.format == "JPEG":
        # A JPEG decodes at 1/2, 1/4 or 1/8 for a fraction of the time; twice the wanted size is kept.
        image.draft(None, (2 * max(size), 2 * max(size)))
    plain = _plain(image)
    # Read only now: a TIFF is turned by Pillow itself while it decodes, which takes the orientation away.
    turn = _TURNS.get(_orientation(image))
    return plain.transpose(turn) if turn is not None else plain


def _plain(image: Image.Image) -> Image.Image:
    """Any mode, decoded, as L or RGB."""
    colour = _is_colour(image)
    image.load()
    image = _in_srgb(image, colour)
    if image.mode in ("L", "RGB") and not image.has_transparency_data:
        return image
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return Image.fromarray(_deep(image))
    if image.has_transparency_data:
        page = Image.new("RGBA", image.size, "white")
        page.alpha_composite(image.convert("LA" if image.mode == "La" else "RGBA").convert("RGBA"))
        image = page
    return image.convert("RGB" if colour else "L")


def _in_srgb(image: Image.Image, colour: bool) -> Image.Image:
    """The decoded picture with its values in sRGB. Where a profile can't be read they are taken for that.

    colour  whether it has colour
    """
    try:
        transform = _from_its_profile(image)
    except Exception:  # what little a damaged profile says is told by `_oddities`
        return image
    if transform is None:
        return image
    result = transform.apply(image.convert(_PROFILED[image.mode]))
    if not colour:
        result = result.convert("L")
    if image.has_transparency_data:
        result.putalpha(image.convert("RGBA").getchannel("A"))
    return result


def _from_its_profile(image: Image.Image) -> ImageCms.ImageCmsTransform | None:
    """What brings a picture's colours to sRGB; None where its profile is that, or is about other colours than it has.

    raises Exception   of any kind, if the profile can't be read
    """
    profile = image.info.get("icc_profile")
    return _to_srgb(profile, _PROFILED[image.mode]) if profile and image.mode in _PROFILED else None


@functools.lru_cache(maxsize=16)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    if len(profile) > _LARGEST_PROFILE:
        raise ValueError("the profile is too large")
    given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if given.profile.xcolor_space != _SPACES[mode]:
        return None
    transform = ImageCms.buildTransform(given, ImageCms.createProfile("sRGB"), mode, "RGB")
    # A few of all colours, or all greys.
    probe = np.arange(256) if mode == "L" else 51 * np.indices((6, 6, 6)).reshape(3, -1).T[:, None]
    sample = Image.fromarray(np.atleast_2d(probe).astype(np.uint8)).convert(mode)
    moved = np.asarray(transform.apply(sample), np.int16) - np.asarray(sample.convert("RGB"))
    return transform if np.abs(moved).max() > _SAME else None


def _deep(image: Image.Image) -> np.ndarray:
    """(H, W) uint8 of a grey picture of more than 8 bits."""
    values: np.ndarray = np.asarray(image)
    if image.mode in ("I", "F"):
        grey = _to_bytes(values)
    else:
        grey = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(_PHOTOMETRIC) == 0:
        # White is 0. Of pictures of 8 bits Pillow turns that round itself.
        grey = _WHITE - grey
    clear = image.info.get("transparency")
    return grey if clear is None else np.where(values == clear, np.uint8(_WHITE), grey)


def _to_bytes(values: np.ndarray) -> np.ndarray:
    """Float or 32-bit values as bytes, by the range that they lie in."""
    least, most = float(values.min()), float(values.max())
    if not np.isfinite(least) or not np.isfinite(most):
        raise ValueError("it holds values that are not finite numbers")
    whole = values.dtype.kind in "iu"
    if least < 0 or most > (65535 if whole else 255):
        low, top = least, most
    else:
        low, top = 0.0, 1.0 if most <= 1 and not whole else 255.0 if most <= 255 else 65535.0
    share: np.ndarray = np.clip((values.astype(np.float32) - low) / max(top - low, 1e-30), 0, 1)
    result: np.ndarray = np.rint(share * 255).astype(np.uint8)
    return result


def _is_colour(image: Image.Image) -> bool:
    """Whether a picture that is not decoded yet has colour."""
    if isinstance(image, PngImagePlugin.PngImageFile) and image.tile and str(image.tile[0][3]).startswith("LA"):
        return False  # grey of 16 bits with transparency, which Pillow makes RGBA of 8
    if image.mode in ("P", "PA"):
        stated, values = image.palette, None
        if stated and stated.mode == "RGB" and stated.rawmode in (None, "RGB"):
            values = stated.palette
        # Pillow's own way, which decodes the picture first, is for the rest.
        palette = np.frombuffer(bytes(image.getpalette("RGB") or () if values is None else values), np.uint8)
        triples = palette[: len(palette) // 3 * 3].reshape(-1, 3)
        return bool((triples != triples[:, :1]).any())
    return image.mode not in _GREY_MODES and not image.mode.startswith("I;16")


def _is_told_more_after_its_pixels(stream: BinaryIO) -> bool:
    """Whether a PNG has EXIF or XMP after its pixels, which Pillow reads only once those are decoded."""
    before, place, pixels = stream.tell(), 8, False
    try:
        while stream.seek(place) and len(head := stream.read(29)) >= 8:
            kind, text = head[4:8], head[8:]
            if pixels and (kind == b"eXIf" or text.startswith(_METADATA)):
                return True
            pixels = pixels or kind == b"IDAT"
            place += int.from_bytes(head[:4]) + 12
        return False
    finally:
        stream.seek(before)


def _orientation(image: Image.Image) -> int:
    try:
        # Of a PNG, the method of its own class would decode the pixels first.
        value = Image.Image.getexif(image).get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF says nothing about the pixels
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _oddities(image: Image.Image) -> Iterator[str]:
    if image.format != "MPO" and _is_animated(image):
        yield "has several frames: the first is used"
    if image.mode.startswith("I;16"):
        yield "has 16 bits: brought to 8"
    if image.mode == "I":
        yield "has 32 bits: brought to 8"
    if image.mode == "F":
        yield "has float values: brought to 8 bits"
    if image.mode == "CMYK":
        yield "is CMYK: brought to RGB"
    try:
        if _from_its_profile(image) is not None:
            yield "has a colour profile: brought to sRGB"
    except Exception:  # of any kind: it is made of whatever bytes somebody put there
        yield "has a colour profile that can't be read: taken for sRGB"
    if image.has_transparency_data:
        yield "is transparent: laid on white"
    if _orientation(image) != 1:
        yield "is turned as its EXIF says"


def _is_animated(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # a damaged later frame is nothing to us
        return True


def _too_large(image: Image.Image, pixels: int) -> ImageProblem | None:
    if image.width * image.height > pixels:
        limit = pixels / (1 << 20)
        told = f"{limit:.3g}" if limit < 1 else f"{limit:,.4g}"
        return ImageProblem(f"is {image.width}×{image.height} px, more than the limit of {told} Mpx")
    return None


def _explained(error: Exception, stream: BinaryIO) -> ImageProblem:
    """What a decoder's exception means."""
    if isinstance(error, Image.DecompressionBombError):
        return ImageProblem("has more pixels than the limit")
    if isinstance(error, UnidentifiedImageError):
        return _unidentified(stream)
    if isinstance(error, MemoryError):
        return ImageProblem("needs more memory than there is")
    said = " ".join(str(error).split())[:120]
    if isinstance(error, EOFError) or "truncated" in said.lower():
        return ImageProblem("is cut short")
    return ImageProblem(f"is damaged ({said or type(error).__name__})")


def _unidentified(stream: BinaryIO) -> ImageProblem:
    try:
        stream.seek(0)
        head = stream.read(64)
    except Exception:
        return ImageProblem("can't be read")
    if not head:
        return ImageProblem("is empty")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<svg")):
        return ImageProblem("is a web page or drawing, not a picture")
    if head[4:8] == b"ftyp":
        return ImageProblem(f"is {head[8:12].decode('ascii', 'replace').strip()!r} inside, a format that is not read")
    return ImageProblem("is no picture of a known format, or its header is damaged")


_one_at_a_time = threading.Lock()


class _Quiet:
    """Silences Pillow's warnings while any thread decodes. `warnings.catch_warnings` alone is not safe in threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._caught = warnings.catch_warnings()

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.simplefilter("ignore")
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    self._caught.__exit__(None, None, None)


_quiet = _Quiet()


def to_bytes(samples: ArrayLike) -> np.ndarray:
    """Pictures as uint8: floats in [-1, 1] are brought to 0-255 and rounded, bytes stay as they are.

    samples  (..., C, H, W)  an array, or a tensor on the CPU
    """
    values: np.ndarray = np.asarray(samples)
    if values.dtype != np.uint8:
        values = np.rint(np.clip((values.astype(np.float32) + 1) * 127.5, 0, 255)).astype(np.uint8)
    return values


def grid(samples: ArrayLike, columns: int | None = None, gap: int = 2) -> np.ndarray:
    """Pictures side by side on white, row by row.

    samples  (N, C, H, W)  uint8, or floats in [-1, 1]
    columns  pictures a row; as square as it gets where it is not given
    gap      px between pictures, and around them
    returns  (C, H', W')   uint8
    """
    pictures = to_bytes(samples)
    count, channels, height, width = pictures.shape
    columns = min(count, columns or int(np.ceil(np.sqrt(count))))
    rows = -(-count // columns)
    page = np.full((channels, rows * (height + gap) + gap, columns * (width + gap) + gap), _WHITE, np.uint8)
    for index, picture in enumerate(pictures):
        top, left = (
            gap + step * (extent + gap) for step, extent in zip(divmod(index, columns), (height, width), strict=True)
        )
        page[:, top : top + height, left : left + width] = picture
    return page


def to_image(picture: ArrayLike) -> Image.Image:
    """A (C, H, W) picture, uint8 or floats in [-1, 1], as Pillow's."""
    values = to_bytes(picture)
    return Image.fromarray(values[0] if values.shape[0] == 1 else np.ascontiguousarray(values.transpose(1, 2, 0)))


def save_picture(picture: ArrayLike, path: Path, recipe: Mapping[str, Any] | None = None) -> None:
    """Write a PNG, whole or not at all.

    picture  (C, H, W)  uint8, or floats in [-1, 1]; 1 or 3 channels
    path     where to; what is there is replaced
    recipe   how it was made, as plain values; `read_recipe` reads it back
    raises   LimnerError   if it can't be written
    """
    about = PngImagePlugin.PngInfo()
    if recipe is not None:
        about.add_text("limner", json.dumps(recipe, sort_keys=True, allow_nan=False))
    with atomic(path) as file:
        to_image(picture).save(file, format="PNG", pnginfo=about)


def save_animation(frames: ArrayLike, path: Path, milliseconds: int = 80) -> None:
    """Write a GIF that repeats for ever, whole or not at all.

    frames        (T, C, H, W)  uint8, or floats in [-1, 1]
    path          where to; what is there is replaced
    milliseconds  time a frame is shown
    raises        LimnerError   if it can't be written
    """
    first, *rest = [to_image(frame) for frame in to_bytes(frames)]
    with atomic(path) as file:
        first.save(file, format="GIF", save_all=True, append_images=rest, duration=milliseconds, loop=0)


def read_recipe(path: Path) -> dict[str, Any] | None:
    """How a picture was made, if it is a PNG of limner's; else None.

    raises DataError   if the file can't be opened
    """
    with _quiet():
        try:
            with Image.open(path, formats=("PNG",)) as image:
                recipe = json.loads(image.info.get("limner", "null"))
        except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
            raise DataError(f"can't open {path}: {(error.strerror or str(error)).lower()}") from None
        except Exception:  # a damaged or foreign file has no recipe
            return None
    return recipe if isinstance(recipe, dict) else None
