"""Pictures of all kinds that are met: sizes, formats, channels, depths, palettes, transparency, animations."""

import functools
import io
import struct
import zlib

import numpy as np
from PIL import Image


def smooth(height: int, width: int, seed: int, channels: int = 3) -> Image.Image:
    """Returns a picture that survives being resized."""
    shape = (4, 4, channels) if channels > 1 else (4, 4)
    small = Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, "uint8"))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    """Returns the bytes of a picture as a file."""
    file = io.BytesIO()
    image.save(file, format=kind, **options)
    return file.getvalue()


def png_of_16_bits(height: int, width: int, channels: int) -> bytes:
    """Returns noise as a PNG of 16 bits, which Pillow writes for gray alone."""
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = np.random.default_rng(channels).integers(0, 2**16, (height, width, channels)).astype(">u2")
    content = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    return _png(header, content)


def bomb(side: int = 20_000) -> bytes:
    """Returns a black PNG of few bytes and many pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    part = zlib.compressobj(9, wbits=-15)  # A hundredth of its rows, which are all alike.
    rows = bytes((side + 1) * side // 100)
    again = part.compress(rows) + part.flush(zlib.Z_FULL_FLUSH)
    checksum = functools.reduce(lambda checksum, _: zlib.adler32(rows, checksum), range(100), 1)
    content = b"\x78\xda" + again * 100 + b"\x03\0" + struct.pack(">I", checksum)
    return _png(header, content)


def _png(header, content):
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part))
        for name, part in ((b"IHDR", header), (b"IDAT", content), (b"IEND", b""))
    )


@functools.cache
def all_kinds() -> dict[str, bytes]:
    """Returns pictures by the name of a file: what `predict` takes, in sizes from 1 pixel to some hundreds."""
    wide, tall, other = smooth(30, 41, 0), smooth(61, 16, 1), smooth(30, 41, 2)
    clear, clear_too = wide.convert("RGBA"), other.convert("RGBA")
    clear.putalpha(smooth(30, 41, 3, channels=1))
    clear_too.putalpha(smooth(30, 41, 4, channels=1))
    turned = Image.Exif()
    turned[274] = 6  # Orientation.
    first_clear = {"save_all": True, "append_images": [clear_too, clear]}
    two = {"save_all": True, "append_images": [other]}
    return {
        "own_size.png": encoded(smooth(16, 16, 5), "PNG"),
        "own_size_gray.png": encoded(smooth(16, 16, 5, channels=1), "PNG"),
        "one_pixel.png": encoded(smooth(1, 1, 6), "PNG"),
        "line.png": encoded(smooth(1, 300, 7), "PNG"),
        "small.png": encoded(smooth(7, 9, 8), "PNG"),
        "large.png": encoded(smooth(300, 200, 9), "PNG"),
        "wide.bmp": encoded(smooth(16, 40, 10), "BMP"),
        "gray.png": encoded(wide.convert("L"), "PNG"),
        "gray_alpha.png": encoded(clear.convert("LA"), "PNG"),
        "alpha.png": encoded(clear, "PNG"),
        "black_and_white.png": encoded(wide.convert("1"), "PNG"),
        "palette.png": encoded(wide.quantize(9), "PNG"),
        "palette_2_bits.png": encoded(wide.quantize(4), "PNG", bits=2),
        "palette_transparent.png": encoded(wide.quantize(9), "PNG", transparency=0),
        "transparent_color.png": encoded(wide, "PNG", transparency=(1, 2, 3)),
        "transparent_gray.png": encoded(wide.convert("L"), "PNG", transparency=3),
        **{f"16_bit_{channels}_channels.png": png_of_16_bits(30, 41, channels) for channels in (1, 2, 3, 4)},
        "animated.png": encoded(wide, "PNG", **two),
        "color.jpg": encoded(wide, "JPEG"),
        "gray.jpg": encoded(tall.convert("L"), "JPEG"),
        "cmyk.jpeg": encoded(wide.convert("CMYK"), "JPEG"),
        "progressive.jpg": encoded(tall, "JPEG", progressive=True),
        "full_color.JPG": encoded(wide, "JPEG", subsampling=0),
        "turned.jpg": encoded(wide, "JPEG", exif=turned),
        "tall.bmp": encoded(tall, "BMP"),
        "gray.bmp": encoded(wide.convert("L"), "BMP"),
        "palette.bmp": encoded(wide.quantize(9), "BMP"),
        "alpha.bmp": encoded(clear, "BMP"),
        "color.gif": encoded(wide, "GIF"),
        "gray.gif": encoded(wide.convert("L"), "GIF"),
        "animated.gif": encoded(wide, "GIF", **two),
        "transparent.gif": encoded(wide.quantize(9), "GIF", transparency=0),
        "color.webp": encoded(wide, "WEBP"),
        "lossless.webp": encoded(tall, "WEBP", lossless=True),
        "alpha.webp": encoded(clear, "WEBP"),
        "alpha_lossless.webp": encoded(clear, "WEBP", lossless=True),
        "exif.webp": encoded(wide, "WEBP", exif=turned),
        "animated.webp": encoded(wide, "WEBP", **two),
        "animated_alpha.webp": encoded(clear, "WEBP", lossless=True, **first_clear),
    }


def no_pictures() -> dict[str, bytes]:
    """Returns files by name that are no picture, damaged, or of a kind that is not decoded."""
    color = smooth(30, 41, 0)
    whole = {kind: encoded(color, kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP")}
    cut = {f"cut_{tenths}.{kind.lower()}": content[: len(content) * tenths // 10] for kind, content in whole.items()
           for tenths in (1, 5)}  # fmt: skip
    return {
        "empty.png": b"",
        "text.jpg": b"no picture",
        "zeros.bmp": bytes(2000),
        "page.png": b"<html><body>404</body></html>",
        "signature.png": whole["PNG"][:8],
        "riff.webp": b"RIFF\0\0\0\0WEBPVP8X",
        "two_bytes.bmp": b"BM",
        "black_and_white.bmp": encoded(color.convert("1"), "BMP"),
        "picture.tiff.png": encoded(color, "TIFF"),
        "picture.ppm.png": encoded(color, "PPM"),
        "checksum.png": whole["PNG"][:60] + b"xxxx" + whole["PNG"][64:],
        **cut,
    }
