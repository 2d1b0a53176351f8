import gc
import itertools
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pytest
from filelock import FileLock
from support.programs import TINY, finished_run

SHARED = Path(__file__).resolve().parents[2] / "shared"


_tests_run = itertools.count(1)

# What was imported stays, and steps that are traced make objects by the hundred thousand: looking through them for
# cycles as often as usual takes a twentieth of the time.
gc.freeze()
gc.set_threshold(50_000, 20, 20)


@pytest.fixture(autouse=True)
def _fresh_keras():
    keras.utils.set_random_seed(0)
    yield
    # The first layer under another `floatx` makes a policy of it, which would outlast it.
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    if next(_tests_run) % 50 == 0:  # Only to free memory, and 0.2 s each time.
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
def once(tmp_path_factory):
    """Returns a folder that one of the processes of pytest-xdist has filled, for all of them."""
    base = tmp_path_factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    root = root / f"once-{os.environ.get('PYTEST_XDIST_TESTRUNUID', os.getpid())}"
    root.mkdir(exist_ok=True)

    def made(name, fill):
        folder = root / name
        with FileLock(f"{folder}.lock"):
            if not (done := root / f"{name}.done").exists():
                fill(folder)
                done.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def tiny_run(once):
    """The folder of a finished run of `programs.TINY`; tests that change it copy it first."""
    return once("tiny", lambda folder: finished_run(folder, *TINY))


@pytest.fixture
def batch():
    """32 images of 12×12 and their labels, of which the first 8 are shown."""
    random = np.random.default_rng(1)
    images = random.normal(size=(32, 12, 12, 1)).astype("float32")
    labels = random.integers(0, 4, 32)
    return images, np.where(np.arange(32) < 8, labels, -1)
