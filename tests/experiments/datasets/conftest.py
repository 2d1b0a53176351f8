import pytest
from support.image_files import write_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of pictures by their classes, of some without, and of some to test on."""
    root = tmp_path_factory.mktemp("pictures")
    write_folder(root)
    return root
