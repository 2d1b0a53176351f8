"""The networks of a run without its data: their configurations are written when a run begins."""

import dataclasses
import json

import keras
import tensorflow as tf

from keras_mt.experiments.errors import RunError, UsageError
from keras_mt.experiments.running.run_directory import RunDirectory, write_atomically

NETWORKS = ("teacher", "student")


@dataclasses.dataclass(frozen=True)
class SavedNetwork:
    """A network as a run saved it.

    Attributes:
        network: The Keras model, in float32, with the weights of the newest checkpoint.
        which: `"teacher"` or `"student"`.
        step: Of the checkpoint.
        class_names: Name of each class.
        data: What it was trained and evaluated on, by name.
    """

    network: keras.Model
    which: str
    step: int
    class_names: tuple[str, ...]
    data: dict


def describe(run: RunDirectory, model, data) -> None:
    """Writes what the networks of a run are made of, unless that was done.

    Raises:
        RunError: If it can't be written.
    """
    if run.networks.exists():
        return
    content = {name: keras.saving.serialize_keras_object(getattr(model, name)) for name in NETWORKS}
    content["class_names"] = list(data.class_names)
    content["data"] = {
        "name": data.name,
        "origin": data.origin,
        "training examples": data.num_examples,
        "labeled": len(data.labeled),
        "evaluated on": len(data.evaluation_labels),
    }
    write_atomically(run.networks, json.dumps(content) + "\n")


def load(run: RunDirectory, which: str) -> SavedNetwork:
    """Returns a network of a run; its data need not be there.

    Raises:
        UsageError: If the folder holds no run, or one of a version that did not write this.
        RunError: If there is no checkpoint that can be read.
    """
    if not run.flagfile.exists():
        raise UsageError(f"--run_dir={run.path} holds no run: {run.flagfile.name} is missing")
    if not run.networks.exists():
        raise UsageError(
            f"--run_dir={run.path} lacks {run.networks.name}; the command that trained it writes that file when it "
            "continues"
        )
    try:
        content = json.loads(run.networks.read_text())
        # Exported networks compute in float32 whatever they were trained in: other formats know no bfloat16.
        text = json.dumps(content[which])
        for precision in ("mixed_bfloat16", "mixed_float16"):
            text = text.replace(f'"{precision}"', '"float32"')
        network = keras.saving.deserialize_keras_object(json.loads(text), safe_mode=True)
        class_names, data = tuple(content["class_names"]), content["data"]
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{run.networks} is damaged ({type(error).__name__}); the run's data rebuild it") from error
    steps = sorted(int(path.name.removeprefix("step-")) for path in run.checkpoints.glob("step-*[0-9]"))
    for step in reversed(steps):
        variables = {which: [weight.value for weight in network.weights]}
        try:
            path = run.checkpoints / f"step-{step}" / "state"
            tf.train.Checkpoint(**variables).read(str(path)).assert_existing_objects_matched().expect_partial()
        except Exception:  # TensorFlow raises many kinds for damaged files.
            continue
        return SavedNetwork(network, which, step, class_names, data)
    raise RunError(f"--run_dir={run.path} holds no checkpoint that can be read")
