"""Pictures as users have them -> uint8 [h, w, 3].

As the reference does: alpha is dropped and not composited, EXIF orientation is not applied, floats are
multiplied by 255 and truncated, an array whose first of three dimensions is 3 (or 1) has its channels first.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicpmo_cpp.source import Source, find, is_location
from minicpmo_cpp.types import Pixels

# Decoders of pictures only: others that Pillow has start programs (EPS) or read scientific data.
_FORMATS = (
    "AVIF", "BMP", "GIF", "HEIF", "ICO", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TGA", "TIFF", "WEBP",
)  # fmt: skip
_EXPECTED = "a PIL image, a uint8 or float array, a path, a data: URL or the bytes of an image file"


def to_pixels(image: Any, *, allow_remote: bool = False) -> Pixels:
    """One picture, decoded.

    Args:
        image: PIL image, array ([h, w], [h, w, 1|3|4], [1|3, h, w]; uint8, or floats in [0, 1]), path, bytes
            of an image file, data: or file: URL, or an http(s) URL.
        allow_remote: whether http(s) URLs are fetched.

    Returns:
        uint8 [h, w, 3], C-contiguous.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file or the array is no picture; the message names it.
        TypeError: something else was passed.
    """
    if is_pil_image(image):
        return _from_pil(image, "PIL image")
    if is_location(image):
        return decode(find(image, "image", allow_remote=allow_remote))
    if isinstance(image, np.ndarray) or hasattr(image, "__array__"):
        return _from_array(np.asarray(image))
    raise TypeError(f"[image] expected {_EXPECTED}, got {type(image).__name__}")


def is_pil_image(value: Any) -> bool:
    """Whether it is a PIL image, without importing Pillow: who has one has imported it."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(value, module.Image)


def decode(source: Source) -> Pixels:
    """The picture in an image file."""
    with source.open() as file:
        return _decode(file, source.name)


def _decode(file: Any, name: str) -> Pixels:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise ImportError(
            "[image] reading image files needs Pillow: pip install 'minicpmo-cpp[cli]'"
        ) from None
    Image.init()
    try:
        with Image.open(file, formats=[kind for kind in _FORMATS if kind in Image.OPEN]) as image:
            _check_size(image.width, image.height, Image.MAX_IMAGE_PIXELS)
            image.load()
            return _from_pil(image, name)
    except MemoryError:
        raise
    except UnidentifiedImageError:
        raise ValueError(f"[image] expected an image file, got {_kind(file)} ({name})") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"[image] expected a picture within Pillow's limit, got: {error} ({name})") from None
    except Exception as error:  # a damaged file makes decoders fail in any way
        reason = str(error) or type(error).__name__
        if reason.startswith("[image]"):
            raise
        raise ValueError(f"[image] expected a sound image file, got: {reason} ({name})") from None


def _check_size(width: int, height: int, limit: int | None) -> None:
    if limit is not None and width * height > limit:
        raise ValueError(f"{width} x {height} pixels, more than PIL.Image.MAX_IMAGE_PIXELS, which is {limit}")


def _kind(file: Any) -> str:
    file.seek(0, os.SEEK_END)
    size = file.tell()
    return f"{size} bytes that are none" if size else "an empty one"


def _from_pil(image: Any, name: str) -> Pixels:
    try:
        if image.mode in ("I;16", "I;16L", "I;16B", "I;16N", "I"):
            return _to_rgb(_eight_bits(np.asarray(image), name))
        if image.mode == "F" and not np.isfinite(np.asarray(image)).all():
            raise ValueError(f"[image] expected finite values, got NaN or infinity ({name})")
        return _to_rgb(np.asarray(image.convert("RGB")))
    except (OSError, SyntaxError) as error:  # Pillow reads a file when its pixels are first asked for
        raise ValueError(f"[image] expected a sound image file, got: {error} ({name})") from None


def _eight_bits(values: NDArray[Any], name: str) -> NDArray[Any]:
    """16-bit levels -> 8-bit ones, 65535 -> 255. Pillow itself would cut everything above 255 off."""
    if values.size and (values.min() < 0 or values.max() > 65535):
        found = f"{values.min()} to {values.max()}"
        raise ValueError(f"[image] expected levels of 0 to 65535, got {found} ({name})")
    return ((values.astype(np.uint32) * 2 + 257) // 514).astype(np.uint8)


def _from_array(array: NDArray[Any]) -> Pixels:
    shape = array.shape
    if array.ndim == 3 and _has_channels_first(shape):
        array = np.moveaxis(array, 0, -1)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)) or array.size == 0:
        raise ValueError(f"[image] expected [h, w], [h, w, 1|3|4] or [1|3, h, w], got shape {list(shape)}")
    return _to_rgb(_to_levels(array))


def _has_channels_first(shape: tuple[int, ...]) -> bool:
    # NOTE: the reference also takes the 1 of [1, w, 3] for channels and then fails; that is a row of pixels.
    return shape[0] == 3 or (shape[0] == 1 and shape[2] not in (3, 4))


def _to_levels(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype == np.uint8:
        return array
    if np.issubdtype(array.dtype, np.floating):
        low, high = float(array.min()), float(array.max())
        if not (-1e-3 <= low and high <= 1 + 1e-3):  # NaN compares false
            raise ValueError(f"[image] expected floats of 0 to 1, got {low} to {high}")
        levels: NDArray[np.uint8] = np.clip(array * 255, 0, 255).astype(np.uint8)
        return levels
    if np.issubdtype(array.dtype, np.integer):
        if array.min() < 0 or array.max() > 255:
            found = f"{array.min()} to {array.max()}"
            raise ValueError(f"[image] expected levels of 0 to 255, got {found} ({array.dtype})")
        return array.astype(np.uint8)
    raise ValueError(f"[image] expected a uint8 or float array, got {array.dtype}")


def _to_rgb(levels: NDArray[Any]) -> Pixels:
    if levels.ndim == 2:
        levels = levels[:, :, None]
    if levels.shape[2] == 1:
        levels = np.repeat(levels, 3, axis=2)
    return np.ascontiguousarray(levels[:, :, :3], dtype=np.uint8)
