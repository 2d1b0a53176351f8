import warnings

import keras

from keras_mt import schedules
from keras_mt.automatic_weight import automatic_weight, check_magnitude
from keras_mt.mean_teacher import MeanTeacher

RAMPUPS = {
    "sigmoid": schedules.RampUpDown,
    "linear": schedules.LinearRampUp,
    "none": lambda maximum, rampup_steps: schedules.RampUpDown(maximum),
}


class MeanTeacherCallback(keras.callbacks.Callback):
    """Sets the consistency weight, its ramp-up and the EMA decay that a `MeanTeacher` follows.

    `MeanTeacher` applies them inside its train step, exact for each optimizer step. The callback says at the
    start of training what is in force, and adds the distance between teacher and student to each epoch's logs
    (list it before callbacks that write logs).

    Args:
        consistency_weight: Largest weight w of the consistency cost. MSE is averaged over classes here, so good
            values lie between C and C² for C classes, and for KL between 1 and 10; they are smaller the fewer
            labeled examples a batch holds, since the classification cost is divided by the whole batch. `"auto"`:
            `automatic_weight` of the labeled share of what `fit` is given.
        consistency_start_step: A supervised start: until this optimizer step the weight is 0, and the ramp-up begins
            there.
        rampup_steps: Length R of the ramp-up of the weight, in optimizer steps; sigmoid: `exp(-5 (1 - t/R)²)`.
        ema_decay: Decay α of the teacher's average after the ramp-up, in [0, 1).
        ema_decay_during_rampup: Decay during the ramp-up, by default the same. The paper has 0.99, then 0.999.
        ema_warmup: Whether the decay is `min(1 - 1/(t+1), α)` at step t, so that early students are forgotten.
        rampup: Shape of the weight's ramp-up: `"sigmoid"`, `"linear"` (`t/R`) or `"none"`, with which
            `rampup_steps` is only when the EMA decay changes.
        verbose: Whether to print what is in force at the start of training.

    Reference: paper, section 3.1 and appendix B.
    """

    def __init__(
        self,
        consistency_weight: float | str,
        rampup_steps: int = 0,
        ema_decay: float = 0.999,
        ema_decay_during_rampup: float | None = None,
        ema_warmup: bool = False,
        rampup: str = "sigmoid",
        consistency_start_step: int = 0,
        verbose: bool = True,
    ):
        super().__init__()
        if ema_decay_during_rampup is None:
            ema_decay_during_rampup = ema_decay
        for argument, decay in (("ema_decay", ema_decay), ("ema_decay_during_rampup", ema_decay_during_rampup)):
            if not 0.0 <= decay < 1.0:
                raise ValueError(f"Argument `{argument}` must be in the range [0, 1). Received: {argument}={decay}")
        self.automatic = consistency_weight == "auto"
        if isinstance(consistency_weight, str) and not self.automatic:
            raise ValueError(
                'Argument `consistency_weight` must be a number or "auto". '
                f"Received: consistency_weight={consistency_weight!r}"
            )
        numbers = {"rampup_steps": rampup_steps, "consistency_start_step": consistency_start_step}
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
        self.ema_decay = schedules.EMADecay(ema_decay_during_rampup, ema_decay, rampup_steps, ema_warmup)
        self.verbose = verbose

    def set_model(self, model):
        super().set_model(model)
        if not isinstance(model, MeanTeacher):
            raise ValueError(f"MeanTeacherCallback works on a `keras_mt.MeanTeacher`. Received: {type(model).__name__}")
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
        share = model.labeled_share()
        if share is None:
            raise ValueError(
                'Argument `consistency_weight="auto"` needs arrays or a `tf.data.Dataset` in `fit`, to see how much is '
                "labeled. Received: neither; give a number"
            )
        return automatic_weight(model, share)

    def _check_magnitude(self, model):
        # Of arrays only: of a data set it would cost its first batches.
        share = model.labeled_share_of_arrays()
        sentence = share and self.maximum and check_magnitude(model, self.maximum, share)
        if sentence:
            warnings.warn(sentence, stacklevel=2)

    def describe(self) -> str:
        """Returns what is in force, in one line."""
        model, decay = self.model, self.ema_decay
        if model.method == "supervised":
            consistency = "no consistency cost (supervised)"
        else:
            ramp = f", {self.rampup} ramp-up over {self.rampup_steps} steps" if self.rampup_steps else ", no ramp-up"
            ramp += f" from step {self.consistency_start_step}" if self.consistency_start_step else ""
            on_all = model.consistency_on_labeled and not model.separate_passes
            who = "labeled and unlabeled" if on_all else "unlabeled"
            divisor = "the batch size" if model.averaged_over == "batch" else "their number"
            consistency = (
                f"consistency weight {self.maximum:g}{ramp}, {model.consistency.name} on {who} examples divided by "
                f"{divisor}"
            )
        if model.prediction_ensemble is not None:
            shape = model.prediction_ensemble.averages.shape
            consistency += f" against remembered predictions ({shape[0]}×{shape[1]} numbers, momentum "
            consistency += f"{model.ensembling_momentum:g})"
        rule = f"EMA decay {decay.after:g}"
        if decay.before != decay.after:
            rule = f"EMA decay {decay.before:g} for {decay.switch_step} steps, then {decay.after:g}"
        reduction = getattr(model.loss, "reduction", "as compiled")
        loss = getattr(model.loss, "name", model.loss)
        return (
            f"{model.method}: {consistency}; {rule}{', warmed up' if decay.warmup else ''}; {loss} on labeled examples "
            f"({reduction}); the teacher answers, is evaluated and exported"
        )

    def on_train_begin(self, logs=None):
        if self.verbose:
            print(self.describe(), flush=True)

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["teacher_student_distance"] = self.model.teacher_distance()
