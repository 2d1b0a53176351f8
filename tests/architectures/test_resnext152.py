import numpy as np
import pytest
from support.networks import count_trained, values

import keras_mt
from keras_mt.architectures import resnext152


def test_resnext_has_the_papers_number_of_weights():
    assert count_trained(resnext152((224, 224, 3), 1000)) == 62_000_400


def test_smaller_images_are_refused():
    with pytest.raises(ValueError, match="Received"):
        resnext152((16, 32, 3), 4)


@pytest.mark.slow
def test_resnext_152_takes_a_step_at_full_size():
    network = resnext152((224, 224, 3), 1000)
    model = keras_mt.MeanTeacher(network, consistency="kl", two_heads=True, logit_distance_weight=0.01)
    model.compile(keras_mt.optimizers.NesterovSGD(0.025, l2_weight_decay=5e-5))
    images = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3)).astype("uint8")
    before = values(model.student.trainable_variables)
    callback = keras_mt.MeanTeacherCallback(10.0, ema_decay=0.9997, ema_warmup=True)
    history = model.fit(images, np.array([7, -1]), batch_size=2, verbose=0, callbacks=[callback]).history
    assert np.isfinite(history["loss"]).all()
    assert all((a != b.numpy()).any() for a, b in zip(before, model.student.trainable_variables, strict=True))
