"""What leaves a run: SavedModel, ONNX, LiteRT, a model card, predictions; and a server without this package."""

import csv
import io
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from support.programs import ROOT, free_ports, run_program

from keras_mt.experiments.datasets.digits import load_digits
from keras_mt.experiments.exporting.saved_model import _write_requests
from keras_mt.experiments.reporting.contact_sheet import most_uncertain
from keras_mt.experiments.running import saved_networks
from keras_mt.experiments.running.run_directory import RunDirectory


@pytest.fixture(scope="module")
def images():
    """200 real pictures, uint8 [200, 16, 16, 1]."""
    (_, _), (pictures, _) = load_digits(16)
    return pictures[:200]


@pytest.fixture(scope="module")
def expected(tiny_run, images):
    network = saved_networks.load(RunDirectory(str(tiny_run)), "teacher").network
    return tf.nn.softmax(network.predict(images.astype("float32"), verbose=0)).numpy()


@pytest.fixture(scope="module")
def exported(tiny_run, tmp_path_factory):
    """Exports once in each format and returns the folder."""
    folder = tmp_path_factory.mktemp("exports")
    for name in ("saved_model", "onnx", "litert"):
        process = run_program("export", f"--run_dir={tiny_run}", f"--format={name}", f"--output={folder / name}")
        assert process.returncode == 0, process.stderr
    return folder


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


def _pictures(folder):
    """Writes pictures of several sizes, in all formats and kinds of pixels that `predict` takes."""
    random = np.random.default_rng(0)

    def colors(height, width):
        small = Image.fromarray(random.integers(0, 256, (4, 4, 3), "uint8"))
        return small.resize((width, height), Image.Resampling.BICUBIC)

    own, small, wide, tall, large = (colors(*size) for size in ((16, 16), (7, 9), (16, 40), (61, 16), (300, 200)))
    own.convert("L").save(folder / "own_gray.png")
    small.save(folder / "small.png")
    wide.save(folder / "wide.jpg")
    tall.save(folder / "tall.bmp")
    large.save(folder / "large.webp")
    wide.convert("L").save(folder / "gray.jpg")
    alpha = tall.convert("RGBA")
    alpha.putalpha(Image.fromarray(random.integers(0, 256, (61, 16), "uint8")))
    alpha.save(folder / "alpha.png")
    tall.convert("LA").save(folder / "gray_alpha.png")
    Image.fromarray(random.integers(0, 2**16, (61, 16), "uint16")).save(folder / "gray_16_bit.png")
    large.convert("CMYK").save(folder / "cmyk.jpeg")
    small.quantize(5).save(folder / "palette.png")
    large.save(folder / "animated.gif", save_all=True, append_images=[colors(300, 200)])
    return sorted(folder.iterdir())


def test_pictures_of_any_size_and_kind_are_answered_by_files_as_by_predict(tiny_run, exported, tmp_path):
    paths = _pictures(tmp_path)
    process = run_program("predict", f"--run_dir={tiny_run}", "--all_probabilities", str(tmp_path))
    assert process.returncode == 0, process.stderr
    rows = list(csv.DictReader(io.StringIO(process.stdout)))
    assert [row["picture"] for row in rows] == [str(path) for path in paths]
    predicted = [[float(row[f"probability of {digit}"]) for digit in range(10)] for row in rows]
    assert np.ptp(predicted, axis=0).max() > 0.01  # They are told apart.
    files = tf.saved_model.load(str(exported / "saved_model" / "1")).signatures["files"]
    answer = files(files=tf.constant([path.read_bytes() for path in paths]))
    np.testing.assert_allclose(answer["probabilities"], predicted, atol=1e-4)  # The CSV has four digits.
    assert [name.decode() for name in answer["classes"].numpy()] == [row["class"] for row in rows]


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
    process = run_program("export", f"--run_dir={tiny_run}", "--which=student", f"--output={tmp_path / 'student'}")
    assert process.returncode == 0, process.stderr
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
        pytest.param(("--model_version=0",), 2, "model_version", marks=pytest.mark.slow),
    ],
)
def test_what_can_not_be_exported_is_a_sentence(flags, status, culprit):
    process = run_program("export", *flags)
    assert process.returncode == status
    assert culprit in process.stderr.strip().splitlines()[-1]
    assert "Traceback" not in process.stderr


def test_an_export_overwrites_nothing(tiny_run, exported):
    process = run_program("export", f"--run_dir={tiny_run}", f"--output={exported / 'saved_model'}")
    assert process.returncode == 2
    assert "is there already" in process.stderr


def test_predict_writes_a_line_a_picture_and_a_contact_sheet(tiny_run, tmp_path, images, expected):
    for number in range(12):
        (tmp_path / f"{number:02}.png").write_bytes(tf.io.encode_png(images[number]).numpy())
    (tmp_path / "large.jpg").write_bytes(tf.io.encode_jpeg(np.zeros((50, 70, 3), "uint8")).numpy())
    sheet = tmp_path / "sheet"
    process = run_program("predict", f"--run_dir={tiny_run}", f"--contact_sheet={sheet}", "--pictures=5", str(tmp_path))
    assert process.returncode == 0, process.stderr
    rows = list(csv.DictReader(io.StringIO(process.stdout)))
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
    process = run_program("predict", f"--run_dir={tiny_run}", str(tmp_path / "a.jpg"))
    assert process.returncode == status
    assert f"a.jpg {culprit}" in process.stderr.strip().splitlines()[-1]


def test_a_server_without_this_package_answers_a_posted_picture(exported, images, expected, tmp_path):
    pytest.importorskip("waitress")
    (port,) = free_ports(1)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # In a folder from which this package can't be imported.
    command = [
        sys.executable,
        str(ROOT / "docs" / "serving" / "server.py"),
        str(exported / "saved_model" / "1"),
        str(port),
    ]
    server = subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.DEVNULL)

    def post(body):
        url = f"http://127.0.0.1:{port}/predict"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    try:
        until = time.monotonic() + 60
        while True:
            try:
                status, answer = post(tf.io.encode_png(images[0]).numpy())
                break
            except urllib.error.URLError:
                assert time.monotonic() < until
                time.sleep(0.3)
        assert status == 200
        assert answer["class"] == str(expected[0].argmax())
        np.testing.assert_allclose(list(answer["probabilities"].values()), expected[0], atol=1e-4)
        assert post(b"no picture")[0] == 400
    finally:
        server.kill()
        server.wait()
