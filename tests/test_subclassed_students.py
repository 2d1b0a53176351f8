"""A subclassed student, of which Keras knows no layers' graph, takes every option."""

import keras
import numpy as np
import pytest
from support.dense_students import FEW, X, compiled, fit

K = keras.layers


@keras.saving.register_keras_serializable("test_subclassed_students")
class Student(keras.Model):
    """Everything in `call`, several outputs on demand."""

    def __init__(self, several=False, **kwargs):
        super().__init__(**kwargs)
        self.several, self.normalization, self.one, self.two = several, K.BatchNormalization(), K.Dense(6), K.Dense(6)

    def call(self, x, training=None):
        x = self.normalization(x, training=training)
        return {"a": self.one(x), "b": self.two(x)} if self.several else self.one(x)

    def get_config(self):
        return {**super().get_config(), "several": self.several}


SUBCLASSED = {
    "plain": {},
    "augmentation": {"augmentation": K.GaussianNoise(0.1)},
    "shared_augmentation": {"shared_augmentation": lambda x, y: (x * 2.0, y)},
    "two_views": {"two_views": True},
    "separate": {"separate_passes": 4},
    "pi": {"method": "pi"},
    "temporal_ensembling": {"method": "temporal_ensembling", "num_examples": 12},
    "top5": {"top5": True},
    "ema": {"teacher_statistics": "ema"},
    "several": {},
    "several temporal": {"method": "temporal_ensembling", "num_examples": 12},
}


@pytest.mark.parametrize("option", SUBCLASSED)
def test_subclassed_students_take_every_option(option):
    student = Student(several="several" in option)
    student(X[:2])
    model = compiled(student, 0.1, **SUBCLASSED[option])
    y = {"a": FEW, "b": FEW} if "several" in option else FEW
    x = (X, X + 0.1) if option == "two_views" else (X, np.arange(12)) if "temporal" in option else X
    before = model.student.get_weights()
    history = fit(model, x, y, decay=0.5, epochs=2).history
    assert all(np.isfinite(values).all() for values in history.values())
    assert all((a != b).any() for a, b in zip(model.student.get_weights(), before, strict=True))
    shapes = keras.tree.map_structure(lambda rows: rows.shape, model.predict(X, verbose=0))
    assert shapes == ({"a": (12, 6), "b": (12, 6)} if "several" in option else (12, 6))
    assert np.isfinite(model.evaluate(X, y, verbose=0)).all()
