import keras


class NoiseLayer(keras.layers.Layer):
    """Base of layers that disturb their input in training, and pass it on unchanged in evaluation.

    Subclasses define `disturb(inputs)` and draw from `self.seed_generator`.

    Args:
        seed: Optional seed. Inside `MeanTeacher` the seed of the experiment decides instead.
    """

    def __init__(self, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs, training=None):
        return self.disturb(inputs) if training else inputs

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}
