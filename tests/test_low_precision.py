"""A processor that only emulates 16 bits is told; one that has them, and float32, are not."""

import types
import warnings

import keras
import numpy as np
import pytest

import keras_mt
from keras_mt import low_precision


def fitted(policy):
    layer = keras.layers.Dense(3, dtype=policy)
    model = keras_mt.MeanTeacher(keras.Sequential([keras.Input((4,)), layer, keras.layers.Activation("linear")]))
    model.compile("sgd")
    callback = keras_mt.MeanTeacherCallback(1.0, verbose=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(np.ones((8, 4), "float32"), np.arange(8) % 3, verbose=0, callbacks=[callback])
    return [str(warning.message) for warning in caught if "computes in" in str(warning.message)]


@pytest.mark.parametrize(("policy", "dtype"), [("mixed_bfloat16", "bfloat16"), ("mixed_float16", "float16")])
@pytest.mark.parametrize("factor", [0.6, 8.25])
def test_only_a_processor_that_is_slower_in_low_precision_is_told_of(policy, dtype, factor, monkeypatch):
    monkeypatch.setattr(low_precision, "_seconds_over_float32", lambda measured: {dtype: factor}[measured])
    told = fitted(policy)
    assert len(told) == (factor > 1)
    if told:
        assert told[0].startswith(f"The student computes in {dtype}, ")
        assert "8.2 times as long as in float32" in told[0]


def test_nothing_is_measured_for_float32(monkeypatch):
    monkeypatch.setattr(low_precision, "_seconds_over_float32", pytest.fail)
    assert not fitted("float32")


def test_the_factor_is_that_of_the_shortest_of_two_products(monkeypatch):
    clock = iter([0.0, 5.0, 10.0, 13.0, 20.0, 22.0, 30.0, 31.0])  # 5 and 3 seconds, then 2 and 1.
    monkeypatch.setattr(low_precision, "time", types.SimpleNamespace(perf_counter=lambda: next(clock)))
    low_precision._seconds_over_float32.cache_clear()
    try:
        assert low_precision._seconds_over_float32("bfloat16") == 3.0
        assert low_precision._seconds_over_float32("bfloat16") == 3.0  # Measured once.
    finally:
        low_precision._seconds_over_float32.cache_clear()
