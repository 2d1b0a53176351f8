"""Mean and variance of each channel: the preprocessing of the residual networks."""

import numpy as np

# Published constants, as shares of 255: (mean, standard deviation).
_PUBLISHED = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "imagenet2012": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
_READ_AT_ONCE = 4096


def channel_moments(dataset: str, images: np.ndarray | None) -> tuple[list[float], list[float]]:
    """Returns mean and variance of each channel in units of a pixel's value: published ones, else those of the images.

    Args:
        dataset: Name of the data set.
        images: uint8 `[images, height, width, channels]`, the training images; None if they are not in memory: then
            those of ImageNet are used.
    """
    if images is None and dataset not in _PUBLISHED:
        dataset = "imagenet2012"
    if dataset in _PUBLISHED:
        mean, deviation = (255.0 * np.array(values) for values in _PUBLISHED[dataset])
        return mean.tolist(), np.square(deviation).tolist()
    total = np.zeros((2, images.shape[-1]))
    for start in range(0, len(images), _READ_AT_ONCE):
        block = images[start : start + _READ_AT_ONCE].astype("float64").reshape(-1, images.shape[-1])
        total += block.sum(axis=0), np.square(block).sum(axis=0)
    mean, square = total / (images.size / images.shape[-1])
    return mean.tolist(), (square - np.square(mean)).tolist()
