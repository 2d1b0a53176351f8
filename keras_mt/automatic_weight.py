"""A consistency weight from what is known before training: number of classes, cost, and how much is labeled."""

from keras_mt import losses

# A weight further off the automatic one than this is warned of.
ORDER_OF_MAGNITUDE = 10.0
_OF_KL = 10.0
_MEANS_OVER_CLASSES = (losses.MSEConsistency, losses.TrustConsistency)


def automatic_weight(model, labeled_share: float) -> float:
    """Returns the largest consistency weight for a `MeanTeacher`, `family · share`.

    The share: where costs are divided by the whole batch (`averaged_over="batch"`), the cost of labels is the smaller
    the fewer there are, and the consistency cost must be so with it: it is the labeled share of the batch. Where costs
    are divided by their participants it is 1.

    The family: `C²` for costs that are means over C classes (MSE, trust), 10 for KL, 4 for the squared distance of
    probabilities of yes, 1 for numbers, whose consistency cost has the unit of the cost of labels.

    For MSE these are the paper's weights: 100 labeled of 100, 10 classes: 100; 8 of 100: 8; 1 of 100: 1.

    Args:
        model: The `MeanTeacher`.
        labeled_share: Labeled examples (dense: pixels) over all, in [0, 1].
    """
    share = labeled_share if model.averaged_over == "batch" else 1.0
    if isinstance(model.consistency, _MEANS_OVER_CLASSES) and model.num_outputs():
        return model.num_outputs() ** 2 * share
    if isinstance(model.consistency, (losses.KLConsistency, losses.SigmoidKLConsistency)):
        return _OF_KL * share
    if isinstance(model.consistency, losses.SigmoidMSEConsistency):
        return 4.0 * share
    if isinstance(model.consistency, losses.OutputMSEConsistency):
        return share
    raise ValueError(
        'Argument `consistency_weight="auto"` needs a consistency cost of `keras_mt.losses` and a number of classes. '
        f"Received: a model with consistency={model.consistency}"
    )


def check_magnitude(model, weight: float, labeled_share: float) -> str | None:
    """Returns a warning if a weight is more than an order of magnitude off the automatic one, else None."""
    try:
        usual = automatic_weight(model, labeled_share)
    except ValueError:
        return None
    if not usual or 1 / ORDER_OF_MAGNITUDE <= weight / usual <= ORDER_OF_MAGNITUDE:
        return None
    side = "above" if weight > usual else "below"
    return (
        f"consistency_weight={weight:g} is more than {ORDER_OF_MAGNITUDE:g} times {side} "
        f"what is usual for {model.consistency.name} with {100 * labeled_share:.2g} % labeled "
        f'(consistency_weight="auto" gives {usual:.3g}).'
    )
