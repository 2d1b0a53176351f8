"""What can't be right together: checks of the options of a `MeanTeacher` when it is built."""

import keras
import tensorflow as tf

from keras_mt import student_checks
from keras_mt.layers import RandomHorizontalFlip, RandomPixelTranslation
from keras_mt.mixing import CutMix, Interpolation
from keras_mt.perturbation import VirtualAdversarial
from keras_mt.teacher import layers_of
from keras_mt.view_checks import mixes_examples, moves_pictures
from keras_mt.views import Augmentation, noise_variables

# Layers after which a pixel is elsewhere, or is another picture's.
_MOVING = (
    RandomHorizontalFlip,
    RandomPixelTranslation,
    keras.layers.AugMix,
    keras.layers.CutMix,
    keras.layers.MixUp,
    keras.layers.RandAugment,
    keras.layers.RandomCrop,
    keras.layers.RandomFlip,
    keras.layers.RandomRotation,
    keras.layers.RandomTranslation,
    keras.layers.RandomZoom,
    keras.layers.RandomShear,
    keras.layers.RandomPerspective,
    keras.layers.RandomElasticTransform,
)

# What an augmentation raises that needs other examples than random ones, or another structure.
_FAILURES = (
    ArithmeticError, AssertionError, AttributeError, LookupError, NotImplementedError, TypeError, ValueError,
    tf.errors.OpError,
)  # fmt: skip


def check_options(model: keras.Model) -> None:
    """Checks the options of a `MeanTeacher` that is being built.

    Args:
        model: The `MeanTeacher`, its networks and outputs made, its augmentations not.

    Raises:
        ValueError: If some can't be right, alone or together; the sentence names the argument and what is allowed.
    """
    if model.separate_passes is not None and model.separate_passes < 1:
        raise ValueError(
            f"Argument `separate_passes` must be positive. Received: separate_passes={model.separate_passes}"
        )
    if model.logit_distance_weight < 0:
        raise ValueError(
            "Argument `logit_distance_weight` must not be negative. "
            f"Received: logit_distance_weight={model.logit_distance_weight}"
        )
    augmentations = ("augmentation", "student_augmentation", "teacher_augmentation", "shared_augmentation")
    given = [name for name in augmentations if getattr(model, name) is not None]
    if model.two_views and given:
        raise ValueError(f"Arguments `two_views` and `{given[0]}` exclude each other. Received: both")
    if model.teacher_augmentation is not None and model.method in ("supervised", "temporal_ensembling"):
        raise ValueError(
            "Argument `teacher_augmentation` needs a method with a pass for the target. Received: "
            f"method={model.method!r}"
        )
    _check_targets(model)
    if any(output.rank >= 4 for output in model.outputs_of_student):
        moving = next((layer for layer in layers_of(model.student) if isinstance(layer, _MOVING)), None)
        if moving is not None:
            raise ValueError(
                "A student whose outputs are per pixel must not move pictures: labels, and the teacher's pictures, "
                "would lie apart. Use `shared_augmentation` for what moves them alike. Received: a student with the "
                f"layer {moving.name!r} ({type(moving).__name__})"
            )
    if model.two_views and model.method == "temporal_ensembling":
        raise ValueError(
            "Temporal ensembling has no pass for a second view: its targets are past predictions. Received: "
            'two_views=True with method="temporal_ensembling"'
        )
    if model.top5:
        for output in model.outputs_of_student:
            if output.task_name != "multiclass" or (output.shape[-1] or 6) < 6:
                raise ValueError(
                    f"`top5` needs at least 6 classes. Received: {output} with task={output.task_name!r} and "
                    f"{output.shape[-1]} columns"
                )
    if (
        model.method == "temporal_ensembling"
        and model.shared_augmentation is not None
        and any(o.rank > 2 for o in model.outputs_of_student)
    ):
        raise ValueError(
            "Temporal ensembling remembers a prediction of each pixel where the pixel was, so it can't be used "
            "with `shared_augmentation`. Received: both"
        )


def _check_targets(model):
    """Checks what changes targets, or the rows that have one."""
    tasks_of = [output.task_name for output in model.outputs_of_student]
    _check_sparse(model)
    if model.mixing is not None:
        if not isinstance(model.mixing, (Interpolation, CutMix)):
            raise ValueError(
                "Argument `mixing` must be `keras_mt.mixing.Interpolation` or `keras_mt.mixing.CutMix`, which mix "
                f"the targets alike. Received: mixing={model.mixing}"
            )
        if model.method == "temporal_ensembling":
            raise ValueError(
                "Temporal ensembling remembers predictions for examples as they are, so it can't be used with "
                "`mixing`. Received: both"
            )
        if model.method == "supervised" and not model.mixing.labels:
            raise ValueError(
                'Argument `mixing` mixes nothing for method="supervised" unless labeled examples are mixed. '
                f"Received: mixing={model.mixing}"
            )
        if isinstance(model.mixing, Interpolation):
            _check_masking(model, "mixing")
        model.mixing.check(model.outputs_of_student, *_inputs_of_student(model, "mixing"))
    if model.method == "vat" and model.perturbation is None:
        raise ValueError(
            'The method "vat" needs the argument `perturbation`, such as `keras_mt.VirtualAdversarial(epsilon=1)`. '
            "Received: perturbation=None"
        )
    if model.perturbation is not None:
        if model.method not in ("mean_teacher", "vat"):
            raise ValueError(
                'Argument `perturbation` needs the method "mean_teacher" or "vat", whose target does not depend on '
                f"the student's own pass. Received: method={model.method!r}"
            )
        if not isinstance(model.perturbation, VirtualAdversarial):
            raise ValueError(
                "Argument `perturbation` must be a `keras_mt.VirtualAdversarial`. Received: "
                f"perturbation={model.perturbation}"
            )
        _check_masking(model, "perturbation")
        model.perturbation.check(*_inputs_of_student(model, "perturbation"))
    if model.uncertainty is not None:
        if model.method != "mean_teacher" or "regression" in tasks_of:
            raise ValueError(
                'Argument `uncertainty` needs the method "mean_teacher" and outputs with probabilities. Received: '
                f"method={model.method!r} with tasks {tasks_of}"
            )
        if not noise_variables(model.teacher):
            raise ValueError(
                "Argument `uncertainty` needs a teacher whose layers draw noise, such as dropout: else all of its "
                "passes are the same. Received: a network without such layers"
            )
    if not 0.0 <= model.class_balance < float("inf"):
        raise ValueError(
            f"Argument `class_balance` must not be negative. Received: class_balance={model.class_balance}"
        )
    if model.class_balance and (model.method == "supervised" or set(tasks_of) != {"multiclass"}):
        raise ValueError(
            "Argument `class_balance` needs a method with a consistency cost, and outputs of classes. Received: "
            f"method={model.method!r} with tasks {tasks_of}"
        )
    if model.teacher_sees == "unlabeled" and (
        model.consistency_on_labeled or model.separate_passes or model.method in ("supervised", "temporal_ensembling")
    ):
        raise ValueError(
            'Argument `teacher_sees="unlabeled"` needs consistency_on_labeled=False, joint passes and a method '
            f"with a pass for the target. Received: consistency_on_labeled={model.consistency_on_labeled}, "
            f"separate_passes={model.separate_passes}, method={model.method!r}"
        )
    if model.statistics_of == "unlabeled" and not model.separate_passes:
        raise ValueError(
            'Argument `statistics_of="unlabeled"` needs `separate_passes`: in joint passes all rows share one '
            "batch's statistics. Received: separate_passes=None"
        )
    if model.second_ema_decay is not None and not 0.0 <= model.second_ema_decay < 1.0:
        raise ValueError(f"Argument `second_ema_decay` must be in the range [0, 1). Received: {model.second_ema_decay}")


def _check_sparse(model):
    """Rows of a sparse tensor can't be indexed."""
    sparse = student_checks.sparse_inputs(model.student)
    options = {
        "separate_passes": model.separate_passes is not None,
        "teacher_sees": model.teacher_sees != "all",
        "mixing": model.mixing is not None,
        "perturbation": model.perturbation is not None,
    }
    given = [name for name, is_given in options.items() if is_given]
    if sparse and given:
        raise ValueError(
            f"Argument `{given[0]}` needs examples as dense tensors: give a student with dense inputs, and `x` as "
            f"`tf.sparse.to_dense(x)` or `x.toarray()`. Received: {given[0]}={getattr(model, given[0])!r} for a "
            f"student with the sparse input {sparse[0].name!r}"
        )


def _check_masking(model, argument):
    """A step that is padding would be none any more, or another one would be padding."""
    masking = next((layer for layer in layers_of(model.student) if isinstance(layer, keras.layers.Masking)), None)
    if masking is not None:
        raise ValueError(
            f"Argument `{argument}` changes the values by which a `Masking` layer knows padding. Received: "
            f"{argument}={getattr(model, argument)} for a student with the layer {masking.name!r}"
        )


def _inputs_of_student(model, argument):
    """Shapes and dtypes of the student's inputs."""
    shapes = student_checks.input_shapes(model.student)
    inputs = keras.tree.flatten(getattr(model.student, "inputs", None) or [])
    dtypes = [keras.backend.standardize_dtype(part.dtype) for part in inputs] or ["float32"] * len(shapes)
    if not shapes:
        raise ValueError(
            f"Argument `{argument}` needs a student whose inputs are known. Received: a subclassed one; wrap it "
            "as a functional model: `keras.Model(inputs, network(inputs))`"
        )
    return shapes, dtypes


def check_augmentation(model: keras.Model, argument: str, augmentation: Augmentation, inputs: list[tuple]) -> None:
    """Checks, by trying it, that an augmentation mixes no examples, and moves none whose outputs are per pixel.

    Args:
        model: The `MeanTeacher`.
        argument: Name of its argument.
        augmentation: What was made of it.
        inputs: Shapes of the student's inputs.

    Raises:
        ValueError: If it does.
    """
    if len(inputs) != 1:
        return
    shape = tuple(size or 8 for size in inputs[0][1:])
    _check_mixes(model, argument, augmentation, shape)
    for output in model.outputs_of_student:
        kept = output.rank - 2  # Axes of the input that the output has, too.
        if kept < 1 or len(shape) <= kept:
            continue
        if _is_found(moves_pictures, model, augmentation, shape, kept):
            raise ValueError(
                f"Argument `{argument}` must not move pictures where outputs are per pixel: the student's and the "
                "teacher's views, and the labels, would lie apart. Use `shared_augmentation` for what moves them "
                f"alike. Received: {argument}={getattr(model, argument)}"
            )


def check_shared_layer(model: keras.Model, of_pixels: list, inputs: list[tuple]) -> None:
    """Checks that a layer as `shared_augmentation` can move what the student takes and its maps of classes.

    Args:
        model: The `MeanTeacher`.
        of_pixels: Its outputs that are per pixel.
        inputs: Shapes of the student's inputs.

    Raises:
        ValueError: If it can't.
    """
    if of_pixels and (len(inputs) != 1 or len(inputs[0]) != 4):
        raise ValueError(
            "A layer as `shared_augmentation` moves one image `[batch, height, width, channels]`. Received: a "
            f"student with inputs of shapes {inputs}; give a function of (x, y)"
        )
    for output in of_pixels:
        sizes = [pair for pair in zip(output.shape[1:-1], inputs[0][1:-1], strict=False) if None not in pair]
        if output.rank != 4 or output.task_name == "regression" or any(a != b for a, b in sizes):
            raise ValueError(
                "A layer as `shared_augmentation` moves maps of classes of the image's size. Received: "
                f"{output} with task={output.task_name!r} and shape {output.shape}; give a function of (x, y)"
            )
    if len(of_pixels) < len(model.outputs_of_student) and len(inputs) == 1:
        alone = Augmentation(model.shared_augmentation, model.seed, inputs)
        _check_mixes(model, "shared_augmentation", alone, tuple(size or 8 for size in inputs[0][1:]))


def _check_mixes(model, argument, augmentation, shape):
    if len(shape) != 3:  # Images alone are mixed by Keras' layers.
        return
    if _is_found(mixes_examples, model, augmentation, shape):
        raise ValueError(
            f"Argument `{argument}` must not mix examples: labels stay where they are; `mixing` mixes them and "
            f"their targets alike. Received: {getattr(model, argument)}"
        )


def _is_found(check, model, *arguments):
    """Whether a check of `view_checks` holds in any structure in which examples can come."""
    for like in student_checks.input_structures(model.student):
        try:
            if check(*arguments, like=like):
                return True
        except _FAILURES:
            continue
    return False
