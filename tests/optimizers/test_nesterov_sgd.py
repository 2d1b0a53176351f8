import keras
import numpy as np
import pytest

from keras_mt.optimizers import NesterovSGD
from keras_mt.schedules import WarmUpCosine


def reference(theta, gradients, rates, momentum, decay):
    """What PyTorch documents for SGD with nesterov=True and weight_decay."""
    buffer = np.zeros_like(theta)
    for gradient, rate in zip(gradients, rates, strict=True):
        gradient = gradient + decay * theta
        buffer = momentum * buffer + gradient
        theta = theta - rate * (gradient + momentum * buffer)
    return theta


@pytest.mark.parametrize("decayed", ["all", "kernels"])
def test_steps_are_those_of_pytorch_under_a_falling_learning_rate(decayed):
    random = np.random.default_rng(0)
    start = {"kernel": random.normal(size=(3, 2)), "bias": random.normal(size=2)}
    gradients = {name: random.normal(size=(5, *value.shape)) for name, value in start.items()}
    variables = {name: keras.Variable(value.astype("float32")) for name, value in start.items()}
    schedule = WarmUpCosine(0.2, 6, rampup_steps=2, initial=0.05)
    optimizer = NesterovSGD(schedule, momentum=0.9, l2_weight_decay=0.01, decayed=decayed)
    for step in range(5):
        optimizer.apply([keras.ops.convert_to_tensor(gradients[n][step], "float32") for n in start], variables.values())
    rates = [float(schedule(step)) for step in range(5)]
    for name, value in start.items():
        decay = 0.01 if decayed == "all" or name == "kernel" else 0.0
        expected = reference(value, gradients[name], rates, 0.9, decay)
        np.testing.assert_allclose(variables[name].numpy(), expected, rtol=1e-5, atol=1e-6)


def test_it_survives_serialization():
    optimizer = NesterovSGD(WarmUpCosine(0.2, 6), momentum=0.8, l2_weight_decay=0.01, decayed="kernels", clipnorm=1.0)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert again.get_config() == optimizer.get_config()


@pytest.mark.parametrize("arguments", [{"momentum": 1.0}, {"l2_weight_decay": -1.0}, {"decayed": "some"}])
def test_bad_arguments_are_named(arguments):
    with pytest.raises(ValueError, match=f"Received: {next(iter(arguments))}="):
        NesterovSGD(**arguments)
