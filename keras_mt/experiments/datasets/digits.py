import numpy as np


def load_digits(size: int):
    """scikit-learn's handwritten digits: 1,797 real images of 8×8 gray levels, installed with the package.

    The fixed test split is every third image (599, from index 2 on); the other 1,198 are for training.

    Args:
        size: Height and width the images are enlarged to by repeating pixels: 16 or 32.

    Returns:
        `((train_images, train_labels), (test_images, test_labels))`, uint8 `[n, size, size, 1]` and int32 `[n]`.
    """
    from sklearn.datasets import load_digits as bundled_digits

    digits = bundled_digits()
    images = np.round(digits.images * (255 / 16)).astype("uint8")[..., None]
    images = images.repeat(size // 8, axis=1).repeat(size // 8, axis=2)
    labels = digits.target.astype("int32")
    test = np.arange(len(labels)) % 3 == 2
    return (images[~test], labels[~test]), (images[test], labels[test])
