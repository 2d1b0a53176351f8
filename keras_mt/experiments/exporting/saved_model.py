"""SavedModels, for TensorFlow itself and for TensorFlow Serving."""

import re
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_mt.experiments.errors import RunError
from keras_mt.experiments.exporting.resizing import FittedPixels
from keras_mt.experiments.exporting.serving import fitted_image, labels_text, probabilities
from keras_mt.experiments.running.run_directory import name_finished, reason_of, unfinished_beside

# What `export_saved_model` makes without requests to warm up with.
_OWN = re.compile(
    r"saved_model\.pb|fingerprint\.pb|assets(/labels\.txt)?|variables(/variables\.(index|data-[\d-]+of-\d+))?"
)


def export_saved_model(
    network: keras.Model, path: Path, class_names: tuple[str, ...], warm_up=None, *, replace: bool = False
) -> None:
    """Writes a SavedModel that maps images to probabilities, with all preprocessing inside.

    `tf.saved_model.load(path).serve(images)` takes uint8 or float32 images `[batch, height, width, channels]` with
    values in 0..255: of any size, and gray or RGB, with transparency or without. The signature `pixels` takes the same
    as uint8, `serving_default` uint8 `images` of the network's own size, `files` encoded pictures; all return
    `probabilities`, and `files` returns `classes` too. The names of the classes are the asset `labels.txt`.

    Args:
        network: A functional network from images to logits: the teacher.
        path: Folder of the SavedModel; written beside and then renamed.
        class_names: Name of each class.
        warm_up: Images uint8 `[requests, height, width, channels]` that TensorFlow Serving asks the model for before
            it is served; none for None.
        replace: Whether it takes the place of a folder of that name.

    Raises:
        FileExistsError: If something has that name and is not to be replaced.
        RunError: If it can't be written, or what is to be replaced is no such export.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished_beside(path) as folder:
            labels, finished = folder / "labels.txt", folder / "finished"
            labels.write_text(labels_text(class_names), encoding="utf-8")
            _archive(network, labels).write_out(str(finished), verbose=False)
            if warm_up is not None:
                _write_requests(finished / "assets.extra" / "tf_serving_warmup_requests", path.parent.name, warm_up)
            if replace:
                replace_folder(path, finished, folder / "replaced")
            else:
                name_finished(finished, path)
    except FileExistsError:
        raise
    except (tf.errors.OpError, OSError) as error:
        raise RunError(f"{path} can't be written ({reason_of(error)})") from error


def replace_folder(path: Path, new: Path, older: Path) -> None:
    """Gives a new folder the name of an older one, which is kept until then: two folders can not change places.

    Args:
        path: That name.
        new: The new folder.
        older: What the older one, if there is one, is called after that.

    Raises:
        RunError: If the older one is no such export; see `check_replaceable`.
    """
    check_replaceable(path)
    if path.exists():
        path.rename(older)
    try:
        new.rename(path)
    except OSError:
        if older.exists():
            older.rename(path)
        raise


def check_replaceable(path: Path) -> None:
    """Checks that a name is free, or a folder's that holds nothing but an export.

    Raises:
        RunError: If something else has it, or is in it.
    """
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        found = f"{path} is a {'link' if path.is_symlink() else 'file'}"
    else:
        inside = sorted(path.rglob("*"))
        foreign = [
            file for file in inside if file.is_symlink() or not _OWN.fullmatch(file.relative_to(path).as_posix())
        ]
        if not foreign:
            return
        found = f"{foreign[0]} is of no exported teacher"
    raise RunError(f"{found}, and {path.name} is to be replaced; move it away, and the same command continues")


def _archive(network, labels):
    shape = tuple(network.inputs[0].shape[1:])
    # A table is what an archive of Keras carries a file by; it looks the names of the classes up in it.
    lines = tf.lookup.TextFileInitializer(
        str(labels), tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE
    )
    names = tf.lookup.StaticHashTable(lines, default_value="")

    # One graph of the network, which all others call: each of its own would take seconds to trace and to write.
    @tf.function(input_signature=[tf.TensorSpec((None, *shape), tf.float32)], autograph=False)
    def answer(images):
        return probabilities(network, images)

    def serve_files(files):
        decoded = tf.TensorSpec(shape, tf.float32)
        images = tf.map_fn(lambda content: fitted_image(content, shape), files, fn_output_signature=decoded)
        answered = answer(images)
        return {**answered, "classes": names.lookup(tf.argmax(answered["probabilities"], axis=1))}

    fitted = FittedPixels(shape)

    @tf.function(autograph=False)
    def serve(images):
        return answer(tf.cast(images, tf.float32) if images.shape[1:] == shape else fitted(images))

    for size in (shape, (None, None, None)):
        for dtype in (tf.uint8, tf.float32):  # The first is the signature.
            serve.get_concrete_function(tf.TensorSpec((None, *size), dtype, name="images"))
    archive = keras.export.ExportArchive()
    archive.track(names)
    archive.add_endpoint("serve", serve)
    any_size = tf.TensorSpec((None, None, None, None), tf.uint8, name="images")
    archive.add_endpoint("pixels", lambda images: answer(fitted(images)), [any_size])
    archive.add_endpoint("files", serve_files, [tf.TensorSpec((None,), tf.string, name="files")])
    return archive


def _write_requests(path, model_name, images):
    """Writes records of `tensorflow.serving.PredictionLog`, whose few fields are put together here by their numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for image in images:
            tensor = tf.make_tensor_proto(np.asarray(image)[None]).SerializeToString()
            entry = _field(1, b"images") + _field(2, tensor)  # Of the map `inputs`.
            model = _field(1, model_name.encode()) + _field(3, b"serving_default")
            request = _field(1, model) + _field(2, entry)
            writer.write(_field(6, _field(1, request)))  # PredictionLog.predict_log.request


def _field(number, content):
    """A length-delimited field of a protocol buffer."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value):
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])
