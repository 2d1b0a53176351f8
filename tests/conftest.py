import itertools
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pytest
from support.programs import TINY, finished_run

SHARED = Path(__file__).resolve().parents[2] / "shared"


_tests_run = itertools.count(1)


@pytest.fixture(autouse=True)
def _fresh_keras():
    keras.utils.set_random_seed(0)
    yield
    if next(_tests_run) % 20 == 0:  # Only to free memory, and 0.2 s each time.
        keras.backend.clear_session()


@pytest.fixture(scope="session")
def golden():
    return lambda name: np.load(Path(__file__).parent / "golden" / f"{name}.npz", allow_pickle=False)


@pytest.fixture(scope="session")
def shared_tfds():
    folder = SHARED / "tfds"
    if not folder.exists():
        pytest.skip("needs the prepared TFDS data beside the checkout")
    return str(folder)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """The folder of a finished run of `programs.TINY`; tests that change it copy it first."""
    return finished_run(tmp_path_factory.mktemp("runs") / "tiny", *TINY)


@pytest.fixture
def batch():
    """32 images of 12×12 and their labels, of which the first 8 are shown."""
    random = np.random.default_rng(1)
    images = random.normal(size=(32, 12, 12, 1)).astype("float32")
    labels = random.integers(0, 4, 32)
    return images, np.where(np.arange(32) < 8, labels, -1)
