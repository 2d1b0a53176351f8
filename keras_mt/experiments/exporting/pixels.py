"""Reads pictures for an exported network that takes `images`, as it was trained on them. Needs NumPy and Pillow alone.

    from pixels import pixels
    onnxruntime.InferenceSession("model.onnx").run(None, {"images": pixels("photo.jpg")[None]})

The network itself resizes, crops and turns to gray. Pillow's own `convert("RGB")` would do for most pictures; not for
those of 16 bits, which it makes white, and transparent GIF files.
"""

import numpy as np
from PIL import Image

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")


def pixels(file) -> np.ndarray:
    """Returns the first image of a picture, uint8 `[height, width, 3]`.

    Args:
        file: A path, or a file that is open for reading bytes.

    Raises:
        OSError: If it is no such picture.
    """
    with Image.open(file, formats=FORMATS) as picture:
        if picture.mode.startswith("I"):  # 16 bits: the upper 8.
            return np.repeat((np.asarray(picture).astype("int64") >> 8).astype("uint8")[..., None], 3, axis=-1)
        if picture.format == "GIF":  # What is transparent is black.
            colors = np.asarray(picture.convert("RGBA"))
            return np.where(colors[..., 3:] == 0, 0, colors[..., :3]).astype("uint8")
        return np.asarray(picture.convert("RGB"))
