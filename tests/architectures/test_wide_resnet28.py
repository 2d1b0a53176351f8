import pytest
from support.networks import count_trained

from keras_mt.architectures import wide_resnet28


def test_wide_resnet_has_the_published_number_of_weights():
    assert count_trained(wide_resnet28((32, 32, 3), 10)) == 1_469_642


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="Received"):
        wide_resnet28((8, 8, 3), 4, width=0)
