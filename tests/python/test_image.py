from __future__ import annotations

import base64
import io
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from minicpmo_cpp import remote
from minicpmo_cpp.image import to_pixels
from numpy.typing import NDArray
from PIL import Image

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


PNG = encoded(Image.fromarray(RGB))


def check_pixels(pixels: NDArray[np.uint8], expected: NDArray[Any]) -> None:
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "RGBA", "P", "CMYK", "1", "YCbCr", "HSV"])
def test_pil_modes_become_what_pillow_converts_them_to(mode: str) -> None:
    image = Image.fromarray(RGB).convert(mode)
    check_pixels(to_pixels(image), np.asarray(image.convert("RGB")))


def test_alpha_is_dropped_and_not_composited() -> None:
    rgba = np.dstack([RGB, np.zeros(RGB.shape[:2], np.uint8)])
    check_pixels(to_pixels(Image.fromarray(rgba)), RGB)
    check_pixels(to_pixels(rgba), RGB)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_scale_to_eight(kind: str) -> None:
    levels = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16)
    expected = np.array([0, 0, 1, 1, 128, 255])
    pixels = to_pixels(encoded(Image.fromarray(levels), kind))
    check_pixels(pixels, np.repeat(expected[None, :, None], 3, axis=2))
    check_pixels(to_pixels(Image.fromarray(levels.astype(np.int32))), pixels)


def test_levels_that_no_sixteen_bits_hold_are_refused() -> None:
    with pytest.raises(ValueError, match="expected levels of 0 to 65535"):
        to_pixels(Image.fromarray(np.array([[-1, 70000]], np.int32)))


def test_a_float_image_with_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="expected finite values"):
        to_pixels(Image.fromarray(np.array([[np.nan, 1.0]], np.float32)))


def test_an_animation_shows_its_first_frame() -> None:
    frames = [Image.new("RGB", (4, 3), color) for color in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    check_pixels(to_pixels(data), np.asarray(frames[0]))


def test_exif_orientation_is_not_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(RGB), "PNG", exif=exif)
    check_pixels(to_pixels(data), RGB)


def test_arrays_of_every_layout() -> None:
    gray = RGB[:, :, 0]
    expected = np.repeat(gray[:, :, None], 3, axis=2)
    for array in (gray, gray[:, :, None], gray[None]):
        check_pixels(to_pixels(array), expected)
    check_pixels(to_pixels(RGB), RGB)
    check_pixels(to_pixels(RGB.transpose(2, 0, 1)), RGB)
    check_pixels(to_pixels(RGB[:, ::-1]), RGB[:, ::-1])
    check_pixels(to_pixels(RGB[:1]), RGB[:1])
    check_pixels(to_pixels(RGB[:1, :1]), RGB[:1, :1])
    check_pixels(to_pixels(RGB.astype(np.int64)), RGB)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_multiplied_and_truncated(dtype: type) -> None:
    values = np.array([[0.0, 0.5, 0.999, 1.0]], dtype)
    check_pixels(to_pixels(values), np.repeat([[[0], [127], [254], [255]]], 3, axis=2))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[np.nan]]), "floats of 0 to 1, got nan"),
        (np.array([[np.inf]]), "floats of 0 to 1"),
        (np.array([[255.0]]), "floats of 0 to 1, got 255.0"),
        (np.array([[256]]), "levels of 0 to 255"),
        (np.array([[True]]), "uint8 or float array, got bool"),
        (np.array([[1j]]), "uint8 or float array, got complex"),
        (np.zeros((2, 2, 2), np.uint8), r"got shape \[2, 2, 2\]"),
        (np.zeros((2, 2, 5), np.uint8), r"got shape \[2, 2, 5\]"),
        (np.zeros(4, np.uint8), r"got shape \[4\]"),
        (np.zeros((0, 4, 3), np.uint8), r"got shape \[0, 4, 3\]"),
        (np.array("x"), "got shape"),
    ],
)
def test_arrays_that_are_no_pictures_are_refused(array: NDArray[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_pixels(array)


def test_paths_bytes_and_urls_name_the_same_picture(tmp_path: Path) -> None:
    path = tmp_path / "a picture.png"
    path.write_bytes(PNG)
    quoted = "".join(f"%{byte:02x}" for byte in PNG)
    body = base64.b64encode(PNG).decode()
    for given_image in (path, str(path), PNG, bytearray(PNG), memoryview(PNG), path.as_uri()):
        check_pixels(to_pixels(given_image), RGB)
    for url in (
        f"data:image/png;base64,{body}",
        f"DATA:;BASE64,{body[:40]}%0A{body[40:]}",
        f"data:image/png,{quoted}",
    ):
        check_pixels(to_pixels(url), RGB)


def hostile_files() -> dict[str, bytes]:
    jpeg = encoded(Image.fromarray(np.tile(RGB, (20, 20, 1))), "JPEG")
    return {
        "empty.png": b"",
        "cut.jpg": jpeg[: len(jpeg) // 2],
        "header.png": PNG[:20],
        "damaged.png": PNG[:40] + b"\xff" * 20 + PNG[60:],
        "text.jpg": b"Dear reader, this is no image.\n" * 10,
        "page.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n",
        "zeros.bmp": b"BM" + bytes(100),
    }


@pytest.mark.parametrize("name", hostile_files())
def test_hostile_files_are_refused_with_path_and_reason(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(hostile_files()[name])
    with pytest.raises(ValueError, match=r"^\[image\] expected .*got") as caught:
        to_pixels(path)
    assert str(path) in str(caught.value)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got: a folder"):
        to_pixels(tmp_path)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"got nothing \(no/such\.png\)"):
        to_pixels("no/such.png")


def test_a_path_with_a_zero_byte_is_refused() -> None:
    with pytest.raises(ValueError, match="null"):
        to_pixels("a\0b.png")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs an endless device")
def test_an_endless_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match="at most 1000 bytes"):
        to_pixels("/dev/zero")


def test_a_decompression_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in (RGB.size // 3 - 1, 4):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(ValueError, match=r"limit|MAX_IMAGE_PIXELS"):
            to_pixels(PNG)


@pytest.mark.parametrize("url", ["data:image/png;base64,####", "data:image/png;base64", "data:,text"])
def test_data_urls_without_a_picture_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        to_pixels(url)


@pytest.mark.parametrize("value", [None, 3, ["a"], {"url": "x"}, object()])
def test_other_things_are_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="expected a PIL image"):
        to_pixels(value)


def test_without_pillow_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"pip install 'minicpmo-cpp\[cli\]'"):
        to_pixels(PNG)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=64), st.integers(0, len(PNG) - 1))
def test_damaged_bytes_give_a_picture_or_a_value_error(noise: bytes, at: int) -> None:
    for data in (noise, PNG[:at] + noise + PNG[at + len(noise) :]):
        try:
            message = f"[image] expected {to_pixels(data).shape}"
        except ValueError as error:
            message = str(error)
        assert message.startswith("[image] expected")


class Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/picture":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(PNG)
        elif self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
        else:
            self.send_error(404)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_urls_are_fetched_only_when_allowed(site: str) -> None:
    with pytest.raises(ValueError, match="fetching is off"):
        to_pixels(f"{site}/picture")
    check_pixels(to_pixels(f"{site}/picture", allow_remote=True), RGB)
    check_pixels(to_pixels(f"{site}/to//picture", allow_remote=True), RGB)


@pytest.mark.parametrize("path", ["/nothing", "/to/file:///etc/passwd", "/to/ftp://127.0.0.1/x"])
def test_urls_that_lead_nowhere_are_refused(site: str, path: str) -> None:
    with pytest.raises(ValueError, match=r"^\[remote\] expected a file"):
        to_pixels(site + path, allow_remote=True)


def test_a_body_above_the_limit_is_refused(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "MAX_BYTES", 10)
    with pytest.raises(ValueError, match="at most 10 bytes"):
        to_pixels(f"{site}/picture", allow_remote=True)
