import numpy as np
import pytest

from keras_mt.data import choose_labeled, hold_out_validation


@pytest.mark.parametrize("count", [250, 500, 1000])
@pytest.mark.parametrize("seed", [2000, 2001, 2002])
def test_label_splits_of_the_test_phase_are_the_authors(golden, count, seed):
    values = golden("label_splits")
    labels = values["labels"]
    everything = np.ones(len(labels), bool)
    chosen = choose_labeled(labels, everything, count, 10, np.random.RandomState(seed))
    np.testing.assert_array_equal(chosen, values[f"test_phase/labels_{count}/seed_{seed}/labeled_index"])


@pytest.mark.parametrize("seed", [1000, 1001])
def test_label_splits_of_the_validation_phase_are_the_authors(golden, seed):
    values = golden("label_splits")
    labels = values["labels"]
    random = np.random.RandomState(seed)
    held_out = hold_out_validation(len(labels), 7325, random)
    np.testing.assert_array_equal(np.flatnonzero(held_out), values[f"validation_phase/seed_{seed}/validation_index"])
    chosen = choose_labeled(labels, ~held_out, 250, 10, random)
    np.testing.assert_array_equal(chosen, values[f"validation_phase/labels_250/seed_{seed}/labeled_index"])


@pytest.mark.parametrize(
    ("num_labels", "message"),
    [
        (13, "can't be divided evenly over 3 classes; a multiple of 3 is needed. Received: num_labels=13"),
        (0, "Received: num_labels=0"),
        (-3, "Received: num_labels=-3"),
        (15, "asks for 5 examples of each class, but class 2 has 4. Received: num_labels=15"),
    ],
)
def test_labels_that_cannot_be_had_are_named(num_labels, message):
    labels = np.array([0] * 9 + [1] * 7 + [2] * 5 + [-1] * 30)
    candidates = np.arange(len(labels)) != 18  # One of class 2.
    with pytest.raises(ValueError, match="Argument `num_labels` ") as raised:
        choose_labeled(labels, candidates, num_labels, 3, np.random.RandomState(0))
    assert message in str(raised.value)
    assert (raised.value.argument, raised.value.value) == ("num_labels", num_labels)


@pytest.mark.parametrize("num_validation", [0, -1, 10, 11])
def test_a_part_that_is_nothing_or_everything_is_not_held_out(num_validation):
    with pytest.raises(ValueError, match=f"must be from 1 to 9. Received: num_validation={num_validation}"):
        hold_out_validation(10, num_validation, np.random.RandomState(0))
