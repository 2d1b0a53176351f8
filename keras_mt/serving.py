"""Networks as files that are used without Keras and without this package: SavedModel, ONNX, LiteRT."""

import pathlib
import tempfile
import warnings

import keras
import tensorflow as tf

from keras_mt.structures import names_of


def export(
    network: keras.Model, filepath, format="tf_saved_model", verbose=None, input_signature=None, first_only=False,
    **kwargs,
) -> None:  # fmt: skip
    """Exports a network in inference mode, as `keras.Model.export` does.

    Outputs are named by the keys of a dict, else `output_0`, `output_1` and so on. Parts of a dict of inputs are named
    by their keys. A SavedModel's `serve` keeps the weights that it computes with, so that
    `tf.saved_model.load(filepath).serve(x)` can be one expression.

    Args:
        network: A built network.
        filepath: The folder of a SavedModel, or the file.
        format: `"tf_saved_model"`, `"onnx"`, `"litert"` or `"openvino"`.
        verbose: Whether to print what was written; None for True, as in Keras.
        input_signature: As Keras takes it; by default that of the network.
        first_only: Whether only the first output is exported.
        **kwargs: As Keras takes them.

    Raises:
        ValueError: If the inputs of a subclassed network are not known, or ONNX lacks an operation of the network.
    """
    served = _Served(network, first_only, named=format == "onnx")
    if input_signature is None:
        input_signature = _signature(network)
    if format == "tf_saved_model":
        _write_saved_model(served, filepath, verbose, input_signature, **kwargs)
    elif format == "onnx":
        _write_onnx(served, filepath, verbose, input_signature, **kwargs)
    else:
        served.export(filepath, format, verbose, input_signature, **kwargs)
        if format == "litert" and b"Flex" in pathlib.Path(filepath).read_bytes():
            warnings.warn(
                f"{filepath} has operations that only TensorFlow has, so it needs LiteRT's Flex delegate. Recurrent "
                "layers do without if they are built with unroll=True.",
                stacklevel=3,
            )


class _Served(keras.Model):
    """A network in inference mode, with outputs as a file can have them: no structures inside of structures."""

    def __init__(self, network, first_only, named):
        super().__init__(name=network.name, autocast=False)  # As `MeanTeacher`: the network casts what it takes.
        self.network, self.first_only, self.named = network, first_only, named
        self.built = True

    def call(self, inputs):
        outputs = self.network(inputs, training=False)
        flat = keras.tree.flatten(outputs)
        if self.first_only:
            outputs, flat = flat[0], flat[:1]
        if isinstance(outputs, dict):
            return dict(zip(names_of(outputs), flat, strict=True)) if len(flat) > len(outputs) else outputs
        if isinstance(outputs, (list, tuple)) and len(flat) > len(outputs):
            outputs = flat
        # SavedModel and LiteRT call them so by themselves.
        return {f"output_{place}": part for place, part in enumerate(flat)} if self.named else outputs


def _signature(network):
    """What a network takes, as Keras' exports want it."""
    if getattr(network, "inputs", None):
        inputs = network.inputs[0] if isinstance(network, keras.Sequential) else network.input
        return [keras.tree.map_structure(lambda tensor: _spec(tensor.shape, tensor.dtype, tensor.name), inputs)]
    config = network.get_build_config() or {}
    shapes = config.get("input_shape") or next(iter((config.get("shapes_dict") or {}).values()), None)
    if shapes is None:
        raise ValueError(
            f"The inputs of {network.name!r} are not known: call it on a batch, or give `input_signature`. "
            "Received: input_signature=None"
        )
    return [_spec_of_shapes(shapes, network.input_dtype)]


def _spec(shape, dtype, name=None):
    return keras.InputSpec(shape=(None, *shape[1:]), dtype=dtype, name=name)


def _spec_of_shapes(shapes, dtype, name=None):
    if isinstance(shapes, dict):
        return {key: _spec_of_shapes(part, dtype, key) for key, part in shapes.items()}
    if isinstance(shapes[0], (dict, list, tuple)):
        return [_spec_of_shapes(part, dtype) for part in shapes]
    return _spec(shapes, dtype, name)


# SavedModel ---------------------------------------------------------------------------------------------------------


class _Root(tf.Module):
    variables = trainable_variables = non_trainable_variables = ()  # `tf.Module` would look for them in attributes.


class _Serve(_Root):
    """A function that keeps what it computes with.

    A function that is loaded has only weak references to its variables and tables: as an attribute of a root that
    nobody holds, as Keras saves it, it can't be called.
    """

    def __init__(self, function, concrete, network):
        super().__init__()
        self.function = function
        _keep_variables(self, concrete)
        self.resources = [
            part
            for part in tf.train.TrackableView(network).descendants()
            if isinstance(part, tf.saved_model.experimental.TrackableResource)
        ]
        self.__call__ = function


def _keep_variables(module, concrete):
    module.variables = list(concrete.variables)
    trained = {id(variable) for variable in concrete.trainable_variables}
    module.trainable_variables = list(concrete.trainable_variables)
    module.non_trainable_variables = [v for v in module.variables if id(v) not in trained]


def _write_saved_model(served, filepath, verbose, input_signature, **kwargs):
    archive = keras.export.ExportArchive()
    archive.track(served)
    function = archive.add_endpoint("serve", served.__call__, input_signature, **kwargs)
    concrete = function.get_concrete_function()
    root = _Root()
    root.serve = _Serve(function, concrete, served.network)
    _keep_variables(root, concrete)
    tf.saved_model.save(root, str(filepath), signatures={"serve": concrete, "serving_default": concrete})
    if verbose is None or verbose:
        described = concrete.pretty_printed_signature(verbose=True).partition("\n")[2]
        print(
            f"Saved artifact at '{filepath}'. The following endpoints are available:\n\n* Endpoint 'serve'\n{described}"
        )


# ONNX ---------------------------------------------------------------------------------------------------------------


def _write_onnx(served, filepath, verbose, input_signature, **kwargs):
    """As Keras does, and looks into the file: not every one that its converter writes can be run."""
    path = pathlib.Path(filepath).resolve()  # A link stays one: what it leads to is written.
    path.parent.mkdir(parents=True, exist_ok=True)
    # A folder of a new name: nothing that somebody has beside the file is written over or removed.
    with tempfile.TemporaryDirectory(prefix=f"{path.name}.unfinished-", dir=path.parent) as folder:
        unfinished = pathlib.Path(folder) / path.name
        served.export(str(unfinished), "onnx", False, input_signature, **kwargs)
        import onnx  # Of an extra, and only where it is wanted.

        model = onnx.load(str(unfinished))
        try:
            onnx.checker.check_model(model)
        except onnx.checker.ValidationError as error:
            raise ValueError(
                f"The network has an operation that ONNX lacks ({str(error).splitlines()[0]}). Export it as a "
                "SavedModel, or put lookups and work on text outside of it."
            ) from error
        _keep_constants(onnx, model, keras.export.ExportArchive().add_endpoint("serve", served, input_signature))
        onnx.save(model, str(unfinished))
        unfinished.replace(path)
    if verbose is None or verbose:
        print(f"Saved artifact at '{filepath}'.")


def _keep_constants(onnx, model, function):
    """Puts tensors that layers hold (an adapted `Normalization`) into the file: the converter makes them inputs."""
    concrete = function.get_concrete_function()
    held = {inside.name: value for value, inside in concrete.graph.captures if value.dtype != tf.resource}
    for given in list(model.graph.input):
        if given.name in held:
            model.graph.initializer.append(onnx.numpy_helper.from_array(held[given.name].numpy(), given.name))
            model.graph.input.remove(given)
    expected = len(keras.tree.flatten(concrete.structured_input_signature))
    if len(model.graph.input) != expected:
        raise ValueError(
            f"The ONNX file would have {len(model.graph.input)} inputs instead of {expected}, since the network "
            "computes with tensors that are no weights. Export it as a SavedModel."
        )
