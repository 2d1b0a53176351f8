"""The networks of a run without its data: their configurations are written when a run begins."""

import dataclasses
import json

import keras

from keras_mt.experiments.commands import NETWORKS
from keras_mt.experiments.errors import RunError, UsageError
from keras_mt.experiments.reading import COUNT, PERCENT, TABLE, TEXT, TEXTS, DamagedFileError, optional, read_json
from keras_mt.experiments.running.chance import chance_of
from keras_mt.experiments.running.checkpoint_files import Identity, read_newest
from keras_mt.experiments.running.run_directory import RunDirectory, write_atomically

_FIELDS = {
    "teacher": TABLE,
    "student": TABLE,
    "average": optional(TABLE),
    "class_names": TEXTS,
    "data": {
        "name": TEXT,
        "origin": TEXT,
        "training examples": COUNT,
        "labeled": COUNT,
        "evaluated on": COUNT,
        "error of chance": optional(PERCENT),
    },
}
_REMEDY = "remove it, and the command that trained the run writes it anew"


@dataclasses.dataclass(frozen=True)
class SavedNetwork:
    """A network as a run saved it.

    Attributes:
        network: The Keras model, in float32, with the weights of the newest checkpoint.
        which: `"teacher"`, `"student"` or, the second one, `"average"`.
        step: Of the checkpoint.
        class_names: Name of each class.
        data: What it was trained and evaluated on, by name.
    """

    network: keras.Model
    which: str
    step: int
    class_names: tuple[str, ...]
    data: dict


def describe(run: RunDirectory, model, data, step: int) -> None:
    """Writes what the networks of a run are made of, unless that was done for what it goes on from.

    Args:
        run: The folder.
        model: The model.
        data: What it is trained and evaluated on.
        step: Where the run goes on. One that begins anew may find what a start with other data has left.

    Raises:
        RunError: If it can't be written.
    """
    if step and run.networks.exists():
        return
    networks = {name: getattr(model, name) for name in NETWORKS}
    content = {name: keras.saving.serialize_keras_object(part) for name, part in networks.items() if part is not None}
    content["class_names"] = list(data.class_names)
    content["data"] = {
        "name": data.name,
        "origin": data.origin,
        "training examples": data.num_examples,
        "labeled": len(data.labeled),
        "evaluated on": len(data.evaluation_labels),
        "error of chance": chance_of(data.evaluation_labels)["error"],
    }
    write_atomically(run.networks, json.dumps(content) + "\n")


def load(run: RunDirectory, which: str | None = None) -> SavedNetwork:
    """Returns a network of a run; its data need not be there.

    Args:
        run: The folder.
        which: One of `NETWORKS`; None for the one that predicts, the second average where there is one.

    Raises:
        UsageError: If the folder holds no run, or one of a version that did not write this, or without a second average
            if that is asked for.
        RunError: If there is no checkpoint that can be read, or the newest is of another run.
    """
    run.must_hold_a_run()
    if not run.networks.exists():
        raise UsageError(
            f"--run_dir={run.path} lacks {run.networks.name}; the command that trained it writes that file when it "
            "continues"
        )
    identity = run.recorded().identity()
    content = read_json(run.networks, _FIELDS)
    which = which or ("average" if "average" in content else "teacher")
    if which not in content:
        raise UsageError(f"--which={which} needs a run with --second_ema_decay, which --run_dir={run.path} is not")
    network, class_names = _rebuilt(run.networks, content, which), tuple(content["class_names"])
    variables = {which: [weight.value for weight in network.weights]}
    found = read_newest(run.checkpoints, Identity(identity, class_names), variables, all_of_it=False)
    if not found.step:
        raise RunError(f"--run_dir={run.path} holds no checkpoint yet")
    return SavedNetwork(network, which, found.step, class_names, content["data"])


def _rebuilt(path, content, which):
    # Exported networks compute in float32 whatever they were trained in: other formats know no bfloat16.
    text = json.dumps(content[which])
    for precision in ("mixed_bfloat16", "mixed_float16"):
        text = text.replace(f'"{precision}"', '"float32"')
    try:
        network = keras.saving.deserialize_keras_object(json.loads(text), safe_mode=True)
        (images,) = network.inputs
        logits, *_ = keras.tree.flatten(network.outputs)
        channels, classes = images.shape[3], logits.shape[-1]
    except Exception as error:  # Keras raises whatever a wrong value leads to.
        raise DamagedFileError(
            f"{path} is damaged: {which} can't be rebuilt ({type(error).__name__}); {_REMEDY}"
        ) from error
    if len(images.shape) != 4 or channels not in (1, 3):
        raise DamagedFileError(f"{path} is damaged: {which} takes {images.shape[1:]}, no pictures; {_REMEDY}")
    if classes != len(content["class_names"]):
        raise DamagedFileError(
            f"{path} is damaged: class_names has {len(content['class_names'])} names for {classes} outputs of {which}; "
            f"{_REMEDY}"
        )
    return network
