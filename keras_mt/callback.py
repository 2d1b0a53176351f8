import warnings

import keras

from keras_mt import schedules
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
            labeled examples a batch holds, since the classification cost is divided by the whole batch.
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
        consistency_weight: float,
        rampup_steps: int = 0,
        ema_decay: float = 0.999,
        ema_decay_during_rampup: float | None = None,
        ema_warmup: bool = False,
        rampup: str = "sigmoid",
        verbose: bool = True,
    ):
        super().__init__()
        if ema_decay_during_rampup is None:
            ema_decay_during_rampup = ema_decay
        for argument, decay in (("ema_decay", ema_decay), ("ema_decay_during_rampup", ema_decay_during_rampup)):
            if not 0.0 <= decay < 1.0:
                raise ValueError(f"Argument `{argument}` must be in the range [0, 1). Received: {argument}={decay}")
        for argument, value in (("consistency_weight", consistency_weight), ("rampup_steps", rampup_steps)):
            if not 0.0 <= value < float("inf"):
                raise ValueError(f"Argument `{argument}` must not be negative. Received: {argument}={value}")
        if rampup not in RAMPUPS:
            raise ValueError(f"Argument `rampup` must be one of {tuple(RAMPUPS)}. Received: rampup={rampup!r}")
        self.rampup = rampup
        self.consistency_weight = RAMPUPS[rampup](consistency_weight, rampup_steps)
        self.ema_decay = schedules.EMADecay(ema_decay_during_rampup, ema_decay, rampup_steps, ema_warmup)
        self.verbose = verbose

    def set_model(self, model):
        super().set_model(model)
        if not isinstance(model, MeanTeacher):
            raise ValueError(f"MeanTeacherCallback works on a `keras_mt.MeanTeacher`. Received: {type(model).__name__}")
        if model.method != "supervised" and self.consistency_weight.maximum == 0:
            warnings.warn(
                f"This trains on the labels alone: method={model.method!r} with consistency_weight=0.", stacklevel=2
            )
        # In `fit` this comes before the train function is made.
        model.follow(self.consistency_weight, self.ema_decay)

    def describe(self) -> str:
        """Returns what is in force, in one line."""
        model, weight, decay = self.model, self.consistency_weight, self.ema_decay
        if model.method == "supervised":
            consistency = "no consistency cost (supervised)"
        else:
            ramp = (
                f", {self.rampup} ramp-up over {weight.rampup_steps} steps" if weight.rampup_steps else ", no ramp-up"
            )
            on_all = model.consistency_on_labeled and not model.separate_passes
            who = "labeled and unlabeled" if on_all else "unlabeled"
            divisor = "the batch size" if model.averaged_over == "batch" else "their number"
            consistency = (
                f"consistency weight {weight.maximum:g}{ramp}, {model.consistency.name} on {who} examples divided by "
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
