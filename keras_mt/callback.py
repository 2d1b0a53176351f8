"""The schedules of the consistency weight and of the EMA decay, and a weight from what is known before training."""

import math
import warnings

import keras
import numpy as np
import tensorflow as tf

from keras_mt import losses, schedules
from keras_mt.mean_teacher import MeanTeacher

# A teacher that keeps more of the weights it begins with is warned of, in fits of up to so many steps.
_MOST_OF_FIRST_WEIGHTS, _STEPS_LOOKED_AT = 0.25, 1_000_000
# A weight further off the automatic one than this is warned of.
_ORDER_OF_MAGNITUDE = 10.0
_OF_KL = 10.0
_MEANS_OVER_CLASSES = (losses.MSEConsistency, losses.TrustConsistency)

RAMPUPS = {
    "sigmoid": schedules.RampUpDown,
    "linear": schedules.LinearRampUp,
    "none": lambda maximum, rampup_steps: schedules.RampUpDown(maximum),
}


class MeanTeacherCallback(keras.callbacks.Callback):
    """Sets the consistency weight, its ramp-up and the EMA decay that a `MeanTeacher` follows.

    `MeanTeacher` applies them inside its train step, exact for each optimizer step. The callback prints at the
    start of training which schedules are active, and adds the distance between teacher and student to each epoch's logs
    (list it before callbacks that write logs). The model keeps its schedules until another callback sets others, in a
    `fit` without one as well.

    Args:
        consistency_weight: Largest weight w of the consistency cost. MSE is averaged over classes here, so good
            values lie between C and C² for C classes, and for KL between 1 and 10; they are smaller the fewer
            labeled examples a batch holds, since the classification cost is divided by the whole batch. `"auto"`:
            `automatic_weight` of the labeled share of what `fit` is given.
        consistency_start_step: A supervised start: until this optimizer step the weight is 0, and the ramp-up begins
            there.
        rampup_steps: Length R of the ramp-up of the weight, in optimizer steps; sigmoid: `exp(-5 (1 - t/R)²)`.
        ema_decay: Decay α of the teacher's average after the ramp-up, in [0, 1). 1, a frozen teacher, is for a
            `MeanTeacher` with `teacher_weights="own"`.
        ema_decay_during_rampup: Decay until the ramp-up has ended, by default the same. Tarvainen & Valpola (2017)
            have 0.99, then 0.999.
        ema_warmup: Whether the decay is `min(1 - 1/(t+1), α)` at step t, so that early students are forgotten; or the
            power p in (0, 1] of `min(1 - (1+t)^-p, α)`, with 2/3 or 3/4 in use.
        ema_every: The average is updated every so many optimizer steps.
        ema_start_step: Until this optimizer step the teacher is a copy of the student, and averaging begins there (a
            supervised start, with the same `consistency_start_step`).
        rampup: Shape of the weight's ramp-up: `"sigmoid"`, `"linear"` (`t/R`) or `"none"`, with which
            `rampup_steps` is only when the EMA decay changes.
        verbose: Whether to print the active schedules at the start of training.

    Raises:
        ValueError: If a number is out of its range, or the model is no `MeanTeacher`.

    Reference: Tarvainen & Valpola (2017), section 3.1 and appendix B, https://arxiv.org/abs/1703.01780

    Example:

    ```python
    import keras_mt

    callback = keras_mt.MeanTeacherCallback(
        consistency_weight=100.0, rampup_steps=5_000, ema_decay_during_rampup=0.99, ema_decay=0.999
    )
    ```
    """

    def __init__(
        self,
        consistency_weight: float | str,
        rampup_steps: int = 0,
        ema_decay: float = 0.999,
        ema_decay_during_rampup: float | None = None,
        ema_warmup: bool | float = False,
        rampup: str = "sigmoid",
        consistency_start_step: int = 0,
        verbose: bool = True,
        ema_every: int = 1,
        ema_start_step: int = 0,
    ):
        super().__init__()
        if ema_decay_during_rampup is None:
            ema_decay_during_rampup = ema_decay
        for argument, decay in (("ema_decay", ema_decay), ("ema_decay_during_rampup", ema_decay_during_rampup)):
            if not 0.0 <= decay <= 1.0:
                raise ValueError(f"Argument `{argument}` must be in the range [0, 1]. Received: {argument}={decay}")
        self.automatic = consistency_weight == "auto"
        if isinstance(consistency_weight, str) and not self.automatic:
            raise ValueError(
                'Argument `consistency_weight` must be a number or "auto". '
                f"Received: consistency_weight={consistency_weight!r}"
            )
        if not 0.0 <= float(ema_warmup) <= 1.0:
            raise ValueError(
                f"Argument `ema_warmup` must be a boolean or a power in (0, 1]. Received: ema_warmup={ema_warmup}"
            )
        if ema_every < 1:
            raise ValueError(f"Argument `ema_every` must be positive. Received: ema_every={ema_every}")
        numbers = {
            "rampup_steps": rampup_steps,
            "consistency_start_step": consistency_start_step,
            "ema_start_step": ema_start_step,
        }
        numbers |= {} if self.automatic else {"consistency_weight": consistency_weight}
        for argument, value in numbers.items():
            if not 0.0 <= value < float("inf"):
                raise ValueError(f"Argument `{argument}` must not be negative. Received: {argument}={value}")
        if rampup not in RAMPUPS:
            raise ValueError(f"Argument `rampup` must be one of {tuple(RAMPUPS)}. Received: rampup={rampup!r}")
        self.rampup = rampup
        self.rampup_steps = rampup_steps
        self.consistency_start_step = consistency_start_step
        self.consistency_weight = None if self.automatic else self._ramp(consistency_weight)
        switch = consistency_start_step + rampup_steps  # The ramp-up ends there.
        self.ema_decay = schedules.EMADecay(
            ema_decay_during_rampup, ema_decay, switch, ema_warmup, ema_every, ema_start_step
        )
        self.verbose = verbose

    def set_model(self, model):
        super().set_model(model)
        if not isinstance(model, MeanTeacher):
            raise ValueError(f"MeanTeacherCallback works on a `keras_mt.MeanTeacher`. Received: {type(model).__name__}")
        frozen = 1.0 in (self.ema_decay.before, self.ema_decay.after)
        if frozen and model.teacher_weights != "own":
            raise ValueError(
                "Argument `ema_decay` must be in the range [0, 1): a teacher that never moves keeps its untrained "
                'weights. Received: ema_decay=1.0 without a `MeanTeacher` with teacher_weights="own"'
            )
        if self.automatic:
            self.consistency_weight = self._ramp(self._automatic(model))
        elif model.method != "supervised":
            self._check_magnitude(model)
        if model.method != "supervised" and self.maximum == 0:
            warnings.warn(
                f"This trains on the labels alone: method={model.method!r} with consistency_weight=0.", stacklevel=2
            )
        # In `fit` this comes before the train function is made.
        model.follow(self.consistency_weight, self.ema_decay)

    @property
    def maximum(self) -> float:
        """The weight after the ramp-up."""
        return float(self.consistency_weight(self.consistency_start_step + self.rampup_steps))

    def _ramp(self, weight):
        ramp = RAMPUPS[self.rampup](weight, self.rampup_steps)
        return schedules.Delayed(ramp, self.consistency_start_step) if self.consistency_start_step else ramp

    def _automatic(self, model):
        shares = model.labeled_shares()
        if shares is None:
            raise ValueError(
                'Argument `consistency_weight="auto"` must see in `fit` how much is labeled. Received: what can\'t be '
                "looked into; give a number"
            )
        weights = automatic_weights(model, shares)
        if len(weights) > 1 and max(weights) > 1.5 * min(weights):
            named = ", ".join(f"{o.name}: {w:.3g}" for o, w in zip(model.outputs_of_student, weights, strict=True))
            raise ValueError(
                'Argument `consistency_weight="auto"` needs outputs for which the same weight is usual. Received: '
                f"{named}; give 1.0 here and these as `consistency_weights` of `MeanTeacher`"
            )
        return sum(weights) / len(weights)

    def _check_magnitude(self, model):
        # Of arrays only: of a data set it would cost its first batches.
        shares = model.labeled_shares(of_batches=False)
        if shares and self.maximum:
            for output, sentence in zip(
                model.outputs_of_student, check_magnitude(model, self.maximum, shares), strict=True
            ):
                if sentence:
                    warnings.warn(f"{output.name}: {sentence}" if output.name else sentence, stacklevel=2)

    def describe(self) -> str:
        """Returns the active schedules and costs, in one line."""
        model, decay = self.model, self.ema_decay
        if model.method == "supervised":
            consistency = "no consistency cost (supervised)"
        else:
            ramp = f", {self.rampup} ramp-up over {self.rampup_steps} steps" if self.rampup_steps else ", no ramp-up"
            ramp += f" from step {self.consistency_start_step}" if self.consistency_start_step else ""
            on_all = model.consistency_on_labeled and not model.separate_passes
            who = "labeled and unlabeled" if on_all else "unlabeled"
            divisor = "the batch size" if model.reduction == "batch" else "their number"
            names = ", ".join(dict.fromkeys(output.consistency.name for output in model.outputs_of_student))
            consistency = f"consistency weight {self.maximum:g}{ramp}, {names} on {who} examples divided by {divisor}"
        if model.prediction_ensembles:
            numbers = sum(math.prod(ensemble.averages.shape) for ensemble in model.prediction_ensembles)
            consistency += f" against past predictions ({numbers} numbers, momentum {model.ensembling_momentum:g})"
        rule = f"EMA decay {decay.after:g}"
        if decay.before != decay.after:
            rule = f"EMA decay {decay.before:g} for {decay.switch_step} steps, then {decay.after:g}"
        rule += f", every {decay.every} steps" if decay.every > 1 else ""
        rule += f", from step {decay.start_step} (a copy before)" if decay.start_step else ""
        if model.average is not None:
            rule += f", and a second of {model.second_ema_decay:g}"
        parts = [str(part) for part in (model.mixing, model.perturbation, model.uncertainty) if part is not None]
        consistency += f", with {', '.join(parts)}" if parts else ""
        loss = ", ".join(dict.fromkeys(_name(output.loss) for output in model.outputs_of_student))
        over = "the batch" if model.reduction == "batch" else "labeled examples"
        predictor = "teacher" if model.average is None else "second average"
        return (
            f"{model.method}: {consistency}; {rule}{', warmed up' if decay.warmup else ''}; {loss} of labeled examples "
            f"divided by {over}; the {predictor} predicts, is evaluated and exported"
        )

    def on_train_begin(self, logs=None):
        if self.verbose:
            print(self.describe(), flush=True)
        self._check_length()

    def _check_length(self):
        epochs, steps = self.params.get("epochs"), self.params.get("steps")
        if not epochs or not steps or self.model.teacher_weights == "own":
            return
        total = int(tf.convert_to_tensor(self.model.optimizer.iterations)) + epochs * steps  # Or a MirroredVariable.
        if total > _STEPS_LOOKED_AT:
            return
        kept = float(np.prod(self.ema_decay(np.arange(total)), dtype="float64"))
        if kept > _MOST_OF_FIRST_WEIGHTS:
            network = "average" if self.model.method == "supervised" else "teacher"
            warnings.warn(
                f"After {total} steps with ema_decay={self.ema_decay.after:g} {100 * kept:.0f} % of the {network} will "
                f"be the weights it began with: train longer, or give a decay of at most {_decay_for(total):g} or "
                "ema_warmup=True",
                stacklevel=2,
            )

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["teacher_student_distance"] = self.model.teacher_distance()


def _decay_for(steps):
    """A decay such as 0.9, 0.98 or 0.997 with which at most a twentieth of the first weights is left."""
    rest = 1.0 - 0.05 ** (1.0 / steps)
    digit = 10.0 ** math.floor(math.log10(rest))
    return 1.0 - digit * math.ceil(rest / digit)


def _name(loss):
    return getattr(loss, "name", None) or getattr(loss, "__name__", None) or getattr(loss, "func", loss).__name__


def automatic_weights(model: MeanTeacher, labeled_shares: list[float]) -> list[float]:
    """Returns the usual largest consistency weight for each output of a `MeanTeacher`, `family · share`.

    The share: where costs are divided by the whole batch (`reduction="batch"`), the classification cost is the smaller
    the fewer labels there are, and the consistency cost must be so with it: it is the labeled share of the batch. With
    `reduction="labeled"` it is 1.

    The family: `C²` for costs that are means over C classes (MSE, trust), 10 for KL, 4 for the squared distance of
    probabilities of yes, 1 for numbers, whose consistency cost has the unit of the cost of labels.

    For MSE these are the weights of Tarvainen & Valpola (2017): 100 labeled of 100, 10 classes: 100; 8 of 100: 8; 1 of
    100: 1.

    Args:
        model: The `MeanTeacher`.
        labeled_shares: For each output, labeled examples (dense: pixels) over all, in [0, 1].

    Raises:
        ValueError: If a consistency cost is not of this package, or the number of classes is not known.

    Example:

    ```python
    import keras

    import keras_mt
    from keras_mt.callback import automatic_weights

    model = keras_mt.MeanTeacher(keras.Sequential([keras.Input((8,)), keras.layers.Dense(10)]))
    model.compile()
    automatic_weights(model, [0.08])  # [8.0]: 10 classes squared, 8 of 100 labeled.
    ```
    """
    return [_automatic_weight(model, o, s) for o, s in zip(model.outputs_of_student, labeled_shares, strict=True)]


def _automatic_weight(model, output, labeled_share):
    share = labeled_share if model.reduction == "batch" else 1.0
    consistency = output.cost_of_consistency
    if isinstance(consistency, _MEANS_OVER_CLASSES) and output.shape[-1]:
        return output.shape[-1] ** 2 * share
    if isinstance(consistency, (losses.KLConsistency, losses.SigmoidKLConsistency)):
        return _OF_KL * share
    if isinstance(consistency, losses.SigmoidMSEConsistency):
        return 4.0 * share
    if isinstance(consistency, losses.OutputMSEConsistency):
        return share
    raise ValueError(
        'Argument `consistency_weight="auto"` needs a consistency cost of `keras_mt.losses` and a number of classes. '
        f"Received: a model with consistency={consistency}"
    )


def check_magnitude(model: MeanTeacher, weight: float, labeled_shares: list[float]) -> list[str | None]:
    """Returns a warning for each output for which a weight is more than an order of magnitude off, else None.

    Example:

    ```python
    import keras

    import keras_mt
    from keras_mt.callback import check_magnitude

    model = keras_mt.MeanTeacher(keras.Sequential([keras.Input((8,)), keras.layers.Dense(10)]))
    model.compile()
    (warning,) = check_magnitude(model, 1000.0, [0.08])  # "consistency_weight=1000 is more than 10 times above ..."
    ```
    """
    sentences = []
    for output, share in zip(model.outputs_of_student, labeled_shares, strict=True):
        try:
            usual = _automatic_weight(model, output, share)
        except ValueError:
            usual = 0.0
        ratio = weight * output.consistency_weight / usual if usual else 1.0
        if 1 / _ORDER_OF_MAGNITUDE <= ratio <= _ORDER_OF_MAGNITUDE:
            sentences.append(None)
            continue
        side = "above" if ratio > 1 else "below"
        sentences.append(
            f"consistency_weight={weight:g} is more than {_ORDER_OF_MAGNITUDE:g} times {side} "
            f"what is usual for {output.consistency.name} with {100 * share:.3g} % labeled "
            f'(consistency_weight="auto" gives {usual:.3g}).'
        )
    return sentences
