"""From a configuration to what changes a method's targets and views."""

import keras

import keras_mt
from keras_mt.experiments.config import Config
from keras_mt.experiments.running.lengths import Lengths

MIXINGS = {"none": None, "interpolation": keras_mt.mixing.Interpolation, "cutmix": keras_mt.mixing.CutMix}


def consistency_of(config: Config) -> keras.losses.Loss | str | float:
    """Returns the consistency cost; of all examples alike, or of those whose target is sure."""
    loss = config.consistency_trust if config.consistency == "trust" else config.consistency
    threshold, temperature, hard = config.confidence_threshold, config.sharpening_temperature, config.hard_targets
    if not threshold and temperature == 1.0 and not hard:
        return loss
    return keras_mt.losses.Confident(loss, threshold, temperature, hard)


def mixing_of(config: Config) -> keras_mt.mixing.Interpolation | keras_mt.mixing.CutMix | None:
    """Returns how unlabeled examples are mixed; None if they are not."""
    mixing = MIXINGS[config.mixing]
    return mixing and mixing(config.mixing_alpha, config.mix_labels, config.mixing_share)


def perturbation_of(config: Config) -> keras_mt.VirtualAdversarial | None:
    """Returns the perturbation of the student's view; None for none."""
    if not config.perturbation_epsilon:
        return None
    return keras_mt.VirtualAdversarial(config.perturbation_epsilon, config.perturbation_xi)


def uncertainty_of(config: Config, lengths: Lengths) -> keras_mt.Uncertainty | None:
    """Returns what finds the uncertain examples; None for nothing. Its threshold grows over the whole run."""
    return keras_mt.Uncertainty(config.uncertainty_passes, lengths.training) if config.uncertainty_passes else None
