"""What leaves a run: SavedModel, ONNX, LiteRT, a model card, predictions."""

import csv
import io
import json
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from support.pictures import all_kinds, smooth
from support.programs import in_process

from keras_mt.experiments.exporting.saved_model import _write_requests, replace_folder
from keras_mt.experiments.reporting.contact_sheet import most_uncertain
from keras_mt.experiments.running import saved_networks
from keras_mt.experiments.running.run_directory import RunDirectory


def test_the_saved_model_has_named_signatures_labels_and_a_versioned_folder(exported, images, expected):
    model = tf.saved_model.load(str(exported / "saved_model" / "1"))
    default, files = model.signatures["serving_default"], model.signatures["files"]
    assert default.structured_input_signature[1]["images"] == tf.TensorSpec((None, 16, 16, 1), tf.uint8, "images")
    np.testing.assert_allclose(default(images=tf.constant(images))["probabilities"], expected, atol=1e-5)
    encoded = tf.constant([tf.io.encode_png(image).numpy() for image in images[:20]])
    answer = files(files=encoded)
    np.testing.assert_allclose(answer["probabilities"], expected[:20], atol=1e-4)
    assert [name.decode() for name in answer["classes"].numpy()] == [str(c) for c in expected[:20].argmax(axis=1)]
    labels = exported / "saved_model" / "1" / "assets" / "labels.txt"
    assert labels.read_text().split() == [str(digit) for digit in range(10)]
    requests = exported / "saved_model" / "1" / "assets.extra" / "tf_serving_warmup_requests"
    assert len(list(tf.data.TFRecordDataset(str(requests), buffer_size=0))) == 3


# All of them are answered at once, too; slowly each kind of bits, palette and transparency says that it's the one.
ALONE = ("own_size.png", "one_pixel.png", "line.png", "16_bit_3_channels.png", "turned.jpg", "animated.gif")


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in ALONE else pytest.mark.slow) for n in all_kinds()])
def test_pictures_of_any_size_and_kind_are_answered_by_files_as_by_predict(name, saved_model, predicted):
    answer = saved_model.signatures["files"](files=tf.constant([all_kinds()[name]]))
    np.testing.assert_allclose(answer["probabilities"][0], predicted[name], atol=1e-4)  # The CSV has four digits.
    assert answer["classes"][0].numpy().decode() == str(predicted[name].argmax())


def test_several_pictures_are_answered_at_once(saved_model, predicted):
    answer = saved_model.signatures["files"](files=tf.constant(list(all_kinds().values())))
    np.testing.assert_allclose(answer["probabilities"], [predicted[name] for name in all_kinds()], atol=1e-4)


@pytest.fixture(scope="module")
def pixel_functions(exported, saved_model):
    """From images of any size to probabilities, by format."""
    onnxruntime, interpreter = pytest.importorskip("onnxruntime"), pytest.importorskip("ai_edge_litert.interpreter")
    session = onnxruntime.InferenceSession(exported / "onnx" / "model.onnx", providers=["CPUExecutionProvider"])
    runner = interpreter.Interpreter(str(exported / "litert" / "model.tflite")).get_signature_runner("serving_default")
    signature = saved_model.signatures["pixels"]
    return {
        "onnx": lambda images: session.run(["probabilities"], {"images": images})[0],
        "litert": lambda images: runner(images=images)["probabilities"],
        "pixels": lambda images: signature(images=tf.constant(images))["probabilities"].numpy(),
        "serve": lambda images: saved_model.serve(tf.constant(images))["probabilities"].numpy(),
        "serve numbers": lambda images: saved_model.serve(tf.constant(images, "float32"))["probabilities"].numpy(),
    }


@pytest.mark.parametrize("function", ["onnx", "litert", "pixels", "serve", "serve numbers"])
def test_pixels_of_any_size_are_answered_as_by_predict(function, exported, pixel_functions, predicted):
    # Its file beside the network reads them.
    reader = runpy.run_path(str(exported / "onnx" / "pixels.py"))["pixels"]
    for name, content in all_kinds().items():
        (answer,) = pixel_functions[function](reader(io.BytesIO(content))[None])
        # Decoders of JPEG differ by up to 3 of 255.
        tolerance = 1e-2 if content[:2] == b"\xff\xd8" else 1e-4
        np.testing.assert_allclose(answer, predicted[name], atol=tolerance, err_msg=name)


@pytest.mark.parametrize("function", ["onnx", "litert", "pixels"])
def test_gray_and_transparent_pixels_are_taken_and_channels_first_are_not(function, pixel_functions):
    answer = pixel_functions[function]
    image = np.asarray(smooth(40, 30, 0).convert("RGBA"))[None]
    image = np.concatenate([image, image[:, ::-1]])
    np.testing.assert_allclose(answer(image), answer(image[..., :3]), atol=1e-6)
    np.testing.assert_allclose(answer(image[..., :1]), answer(np.repeat(image[..., :1], 3, axis=-1)), atol=1e-5)
    np.testing.assert_allclose(answer(image[..., [0, 3]]), answer(image[..., :1]), atol=1e-6)
    with pytest.raises(Exception, match="(?i)gather|indices|index"):
        answer(np.moveaxis(image, -1, 1))


def test_what_is_exported_beside_an_onnx_or_litert_file_reads_pictures_without_this_package(exported):
    for name in ("onnx", "litert"):
        text = (exported / name / "pixels.py").read_text()
        imported = re.findall(r"^(?:import|from) (\w+)", text, re.MULTILINE)
        assert imported == ["numpy", "PIL"]


def test_a_file_of_that_name_which_no_export_wrote_is_kept(tiny_run, tmp_path):
    (tmp_path / "pixels.py").write_text("mine")
    status, _, stderr = in_process("export", f"--run_dir={tiny_run}", "--format=litert", f"--output={tmp_path}")
    assert status == 2
    assert "pixels.py is there already" in stderr
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("pixels.py", "mine")]


def test_the_first_picture_of_an_animation_is_taken(exported, tmp_path):
    across = np.zeros((30, 40), "uint8")
    across[:15] = 255
    first, second = (Image.fromarray(halves) for halves in (across, np.rot90(across).copy()))
    first.save(tmp_path / "both.gif", save_all=True, append_images=[second])
    for name, image in (("first", first), ("second", second)):
        image.save(tmp_path / f"{name}.png")
    files = tf.saved_model.load(str(exported / "saved_model" / "1")).signatures["files"]
    contents = [(tmp_path / name).read_bytes() for name in ("both.gif", "first.png", "second.png")]
    both, alone, other = files(files=tf.constant(contents))["probabilities"].numpy()
    np.testing.assert_allclose(both, alone, atol=1e-6)
    assert np.abs(both - other).max() > 1e-3


def test_warm_up_requests_are_those_of_tensorflow_serving(tmp_path):
    # Serialized by tensorflow-serving-api 2.21.0: a PredictionLog for model `digits`.
    golden = (
        "324b0a490a190a066469676974731a0f73657276696e675f64656661756c74122c0a06696d6167657312220804121012020801120208021202"
        "080212020803220c000102030405060708090a0b"
    )
    _write_requests(tmp_path / "requests", "digits", np.arange(12, dtype="uint8").reshape(1, 2, 2, 3))
    (record,) = tf.data.TFRecordDataset(str(tmp_path / "requests"), buffer_size=0)
    assert record.numpy().hex() == golden


def test_onnx_runs_in_onnxruntime_and_agrees(exported, images, expected):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(exported / "onnx" / "model.onnx", providers=["CPUExecutionProvider"])
    assert [value.name for value in (*session.get_inputs(), *session.get_outputs())] == ["images", "probabilities"]
    (answer,) = session.run(["probabilities"], {"images": images})
    assert np.abs(answer - expected).max() < 1e-4
    assert session.get_modelmeta().custom_metadata_map["classes"].split() == [str(digit) for digit in range(10)]


def test_litert_runs_in_its_interpreter_and_agrees(exported, images, expected):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    runner = interpreter.Interpreter(str(exported / "litert" / "model.tflite")).get_signature_runner("serving_default")
    assert np.abs(runner(images=images)["probabilities"] - expected).max() < 1e-4
    assert (exported / "litert" / "labels.txt").read_text().split() == [str(digit) for digit in range(10)]


def test_the_exported_network_is_the_one_that_was_asked_for(tiny_run, tmp_path, images):
    status, _, stderr = in_process(
        "export", f"--run_dir={tiny_run}", "--which=student", f"--output={tmp_path / 'student'}"
    )
    assert status == 0, stderr
    student = saved_networks.load(RunDirectory(str(tiny_run)), "student").network
    model = tf.saved_model.load(str(tmp_path / "student" / "1"))
    answer = model.serve(tf.constant(images))["probabilities"]
    wanted = tf.nn.softmax(student.predict(images.astype("float32"), verbose=0))
    np.testing.assert_allclose(answer, wanted, atol=1e-5)
    teacher = saved_networks.load(RunDirectory(str(tiny_run)), "teacher").network
    assert (
        np.abs(teacher.predict(images.astype("float32"), verbose=0) - student.predict(images, verbose=0)).max() > 1e-3
    )


def test_a_model_card_goes_with_each_export(tiny_run, exported):
    results = json.loads((tiny_run / "results.json").read_text())
    for name in ("saved_model", "onnx", "litert"):
        card = (exported / name / "MODEL_CARD.md").read_text()
        assert f"{results['teacher']['error']:.2f} %" in card
        assert f"{results['student']['error']:.2f} %" in card
        assert "599 images" in card
        assert "50 of them labeled" in card
        assert results["versions"]["tensorflow"] in card


@pytest.mark.parametrize(
    ("flags", "status", "culprit"),
    [
        ((), 2, "--run_dir is missing"),
        (("--run_dir=nowhere",), 2, "holds no run"),
        (("--format=h5",), 2, "--format"),
        (("--model_version=0",), 2, "model_version"),
    ],
)
def test_what_can_not_be_exported_is_a_sentence(flags, status, culprit):
    found, _, stderr = in_process("export", *flags)
    assert found == status
    (sentence,) = stderr.splitlines()
    assert culprit in sentence


def test_an_export_overwrites_nothing(tiny_run, exported):
    status, _, stderr = in_process("export", f"--run_dir={tiny_run}", f"--output={exported / 'saved_model'}")
    assert status == 2
    assert "is there already" in stderr


@pytest.mark.parametrize("name", ["saved_model", pytest.param("litert", marks=pytest.mark.slow)])
def test_an_export_takes_away_nothing_that_it_did_not_make(tiny_run, tmp_path, name):
    of_old = ("unfinished-model.tflite", "1.labels", "1.unfinished", "1.replaced", "MODEL_CARD.md.unfinished")
    for folder in of_old:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine").write_text(folder)
    status, _, stderr = in_process("export", f"--run_dir={tiny_run}", f"--format={name}", f"--output={tmp_path}")
    assert status == 0, stderr
    assert [(tmp_path / folder / "mine").read_text() for folder in of_old] == list(of_old)
    made = {"saved_model": {"1"}, "litert": {"model.tflite", "labels.txt", "pixels.py"}}[name]
    assert {path.name for path in tmp_path.iterdir()} == {"MODEL_CARD.md", *made, *of_old}


@pytest.mark.parametrize(("name", "file"), [("saved_model", "1/saved_model.pb"), ("litert", "model.tflite")])
def test_an_export_that_another_was_faster_than_is_refused_and_changes_nothing(
    tiny_run, tmp_path, monkeypatch, name, file
):
    load = saved_networks.load

    def while_another_ends(*arguments):  # After the check at the start.
        (tmp_path / file).parent.mkdir(exist_ok=True)
        for path in (tmp_path / file, tmp_path / "MODEL_CARD.md"):
            path.write_text("# Model card of the first")
        return load(*arguments)

    monkeypatch.setattr(saved_networks, "load", while_another_ends)
    monkeypatch.setattr("keras_mt.experiments.export.TITLE", "# Model card")
    status, _, stderr = in_process("export", f"--run_dir={tiny_run}", f"--format={name}", f"--output={tmp_path}")
    assert status == 2
    assert f"{tmp_path / file.partition('/')[0]} is there already; name another --output" in stderr
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {file, "MODEL_CARD.md"}
    assert {(tmp_path / name).read_text() for name in found} == {"# Model card of the first"}


def test_a_folder_is_replaced_as_a_whole_or_kept(tmp_path, monkeypatch):
    old, new, older = tmp_path / "teacher", tmp_path / "new", tmp_path / "older"
    for folder in (old, new):
        folder.mkdir()
        (folder / "saved_model.pb").write_text(folder.name)
    with monkeypatch.context() as patched:
        rename = Path.rename
        patched.setattr(Path, "rename", lambda path, to: full() if path == new else rename(path, to))
        with pytest.raises(OSError, match="full"):
            replace_folder(old, new, older)
    assert (old / "saved_model.pb").read_text() == "teacher"
    replace_folder(old, new, older)
    assert (old / "saved_model.pb").read_text() == "new"
    assert (older / "saved_model.pb").read_text() == "teacher"


def full():
    raise OSError("full")


def test_predict_writes_a_line_a_picture_and_a_contact_sheet(tiny_run, tmp_path, images, expected):
    for number in range(12):
        (tmp_path / f"{number:02}.png").write_bytes(tf.io.encode_png(images[number]).numpy())
    (tmp_path / "large.jpg").write_bytes(tf.io.encode_jpeg(np.zeros((50, 70, 3), "uint8")).numpy())
    sheet = tmp_path / "sheet"
    flags = (f"--run_dir={tiny_run}", f"--contact_sheet={sheet}", "--pictures=5")
    status, stdout, stderr = in_process("predict", *flags, tmp_path)
    assert status == 0, stderr
    rows = list(csv.DictReader(io.StringIO(stdout)))
    assert len(rows) == 13
    assert [row["picture"].rsplit("/")[-1] for row in rows] == [*(f"{n:02}.png" for n in range(12)), "large.jpg"]
    for row, probabilities in zip(rows[:12], expected[:12], strict=True):
        assert row["class"] == str(probabilities.argmax())
        assert float(row["probability"]) == pytest.approx(probabilities.max(), abs=1e-3)
    assert sheet.read_bytes()[1:4] == b"PNG"


def test_the_most_uncertain_comes_first():
    probabilities = np.array([[0.9, 0.05, 0.05], [0.34, 0.33, 0.33], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    assert most_uncertain(probabilities, 3).tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("content", "status", "culprit"), [(None, 2, "is not there"), (b"no picture", 1, "can't be decoded")]
)
def test_pictures_that_can_not_be_read_are_named(tiny_run, tmp_path, content, status, culprit):
    if content:
        (tmp_path / "a.jpg").write_bytes(content)
    found, _, stderr = in_process("predict", f"--run_dir={tiny_run}", tmp_path / "a.jpg")
    assert found == status
    assert f"a.jpg {culprit}" in stderr.strip().splitlines()[-1]
