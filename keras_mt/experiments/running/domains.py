"""Labels in one domain only: which images of a folder are of which domain."""

import numpy as np

from keras_mt.experiments.config import Config
from keras_mt.experiments.datasets.image_data import ImageData
from keras_mt.experiments.errors import UsageError


def check_domains(config: Config, data: ImageData) -> None:
    """Checks that a folder's unlabeled images can be a domain of their own, where their statistics are asked for.

    Of a folder, images without a class are the target's and images with one the source's. Other data sets have one
    domain, whatever labels are masked.

    Raises:
        UsageError: If masked labels would mix the domains, or the images to evaluate on would be the source's.
    """
    if config.dataset != "folder" or config.statistics_of != "unlabeled":
        return
    classes = np.delete(data.labels, data.labeled)
    source, target = int((classes >= 0).sum()), int((classes < 0).sum())
    if not target:
        return
    if source:
        by = "labels_file" if config.num_labels == "all" else "num_labels"
        raise UsageError(
            f"--{by}={getattr(config, by)} masks the labels of {source} images, which would be mixed with the {target} "
            "unlabeled ones whose statistics --statistics_of=unlabeled asks for; label all of them, or remove them "
            "from the folder"
        )
    if config.phase == "validation":
        raise UsageError(
            "--phase=validation holds out labeled images, and --statistics_of=unlabeled is for unlabeled ones of "
            "another domain, which would not be measured; give --phase=test, with images of the unlabeled domain in "
            "test/, in folders of their classes"
        )
