"""Lists of labels: which pictures are labeled, from a text file or a table of comma-separated values."""

import re

import numpy as np
import pytest
from support.image_files import CLASSES, load_folder, picture

from keras_mt.errors import ArgumentError
from keras_mt.experiments.datasets.labels_file import read_labels_file
from keras_mt.experiments.datasets.streamed import load_streamed


def test_a_labels_file_names_the_labeled_pictures(folder, tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text(
        f"# chosen by hand\n{CLASSES[1]}_3.png {CLASSES[1]}\n\n{CLASSES[0]}/{CLASSES[0]}_0.JPEG\n{CLASSES[2]}_0.JPEG"
    )
    data = load_folder(folder, labels_file=str(path), num_labels="all")
    assert sorted(data.ranges.names[data.labeled]) == [
        f"{CLASSES[0]}/{CLASSES[0]}_0.JPEG",
        f"{CLASSES[1]}/{CLASSES[1]}_3.png",
        f"{CLASSES[2]}/{CLASSES[2]}_0.JPEG",
    ]
    with pytest.raises(ArgumentError, match="`num_labels` and `labels_file` both choose the labeled images"):
        load_folder(folder, labels_file=str(path), num_labels=6)


def test_of_classes_that_a_labels_file_leaves_out_is_warned(folder, tmp_path, capsys):
    path = tmp_path / "labels.txt"
    path.write_text(f"{CLASSES[1]}_3.png\n")
    load_folder(folder, labels_file=str(path), num_labels="all")
    assert f"{path} labels no image of {CLASSES[0]}, {CLASSES[2]}: nothing teaches" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        ("unknown.jpg\n", "line 1: 'unknown.jpg' is no training image"),
        (f"{CLASSES[0]}_0.JPEG\n{CLASSES[0]}_0.JPEG", "line 2: .* is already named in line 1"),
        (f"{CLASSES[0]}_0.JPEG {CLASSES[1]}", f"line 1: .* is of class '{CLASSES[0]}', not '{CLASSES[1]}'"),
        ("0.jpg", "line 1: '0.jpg' has no class"),
        ("../../etc/passwd", "line 1: '../../etc/passwd' is no training image"),
        ("# nothing\n", "names no image"),
        ("\x00\xff", "no training image"),
    ],
)
def test_a_wrong_labels_file_is_named(folder, tmp_path, text, culprit):
    path = tmp_path / "labels.txt"
    path.write_text(text)
    with pytest.raises(ArgumentError, match=f"`labels_file`.*{culprit}"):
        load_folder(folder, labels_file=str(path), num_labels="all")


def test_names_and_classes_with_spaces_are_read(tmp_path):
    names = np.array(["a b/1 of 2.png", "a b/2 of 2.png", "c/x.png", "c/x y.png", "c/x y a b.png"])
    labels = np.array([0, 0, 1, 1, 1])
    path = tmp_path / "list.txt"
    for lines, found in (
        (["a b/1 of 2.png", "c/x.png c", "  c/x y.png  "], [0, 2, 3]),
        (["a b/1 of 2.png a b", "2 of 2.png\ta b", "c/x y a b.png"], [0, 1, 4]),
    ):
        path.write_text("\n".join(lines))
        assert read_labels_file(str(path), names, labels, ("a b", "c")).tolist() == found
    for line, reason in (("c/x y.png a b", "is of class 'c', not 'a b'"), ("a b/3 of 2.png", "is no training image")):
        path.write_text(line)
        with pytest.raises(ArgumentError, match=reason):
            read_labels_file(str(path), names, labels, ("a b", "c"))


def test_a_byte_order_mark_is_no_part_of_a_name(folder, tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("\n".join(f"{name}_3.png" for name in CLASSES), encoding="utf-8-sig")
    assert len(load_folder(folder, labels_file=str(path), num_labels="all").labeled) == 3


def test_a_labels_file_of_held_out_pictures_only_is_refused(folder, tmp_path):
    held_out = load_folder(folder, phase="validation", num_validation=6).evaluation_ranges.names
    (tmp_path / "labels.txt").write_text("\n".join(held_out))
    with pytest.raises(ArgumentError, match="`labels_file` has no label for an image to train on"):
        load_folder(
            folder, phase="validation", num_validation=6, num_labels="all", labels_file=str(tmp_path / "labels.txt")
        )


def test_a_labels_file_that_is_missing_or_no_text_is_named(folder, tmp_path):
    with pytest.raises(ArgumentError, match="can't be read"):
        load_folder(folder, num_labels="all", labels_file=str(tmp_path / "missing"))
    (tmp_path / "picture").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ArgumentError, match="no text"):
        load_folder(folder, num_labels="all", labels_file=str(tmp_path / "picture"))


def test_labels_of_a_folder_may_come_from_a_csv(tmp_path):
    random, lines = np.random.default_rng(0), ["picture,class"]
    for place, count in (("", 9), ("test", 6)):
        (tmp_path / "all" / place).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            name = f"{place}/{number}.jpg".lstrip("/")
            (tmp_path / "all" / name).write_bytes(picture(random, number % 3))
            if number != 8:
                lines.append(f"{name},{'abc'[number % 3]}")
    (tmp_path / "labels.CSV").write_text("\n".join(lines))
    arguments = {"image_size": 16, "labels_file": str(tmp_path / "labels.CSV")}
    data = load_streamed("folder", str(tmp_path / "all"), **arguments)
    assert data.class_names == ("a", "b", "c")
    assert data.labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, -1]
    assert data.labeled.tolist() == list(range(8))
    assert data.evaluation_labels.tolist() == [0, 1, 2, 0, 1, 2]
    (tmp_path / "labels.CSV").write_text("\n".join([*lines[:-1], "test/5.jpg,d"]))
    with pytest.raises(ArgumentError, match="`labels_file` has the class 'd' for no image to train on"):
        load_streamed("folder", str(tmp_path / "all"), **arguments)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.jpg,a\n9.jpg,b", "line 2: '9.jpg' is no picture"),
        ("0.jpg,a\n0.jpg,b", "line 2: '0.jpg' is named twice"),
        ("0.jpg,a\n1.jpg,a", "has 1 classes"),
        ("0.jpg,a\n1.jpg", "line 2: '1.jpg' has no class"),
        (None, "can't be read"),
    ],
)
def test_a_csv_of_labels_that_is_wrong_is_named(tmp_path, text, message):
    random = np.random.default_rng(0)
    for number in range(2):
        (tmp_path / f"{number}.jpg").write_bytes(picture(random, number))
    if text:
        (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(ArgumentError, match=re.escape(message)):
        load_streamed("folder", str(tmp_path), image_size=16, labels_file=str(tmp_path / "labels.csv"))
