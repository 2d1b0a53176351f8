"""The server of docs/serving: what it answers, what it refuses, and that it needs nothing of this package."""

import http.client
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from support.pictures import all_kinds, bomb, encoded, no_pictures, smooth
from support.programs import ROOT

pytest.importorskip("flask")
pytest.importorskip("waitress")
PATH = ROOT / "docs" / "serving" / "server.py"


@pytest.fixture(scope="module")
def server():
    spec = importlib.util.spec_from_file_location("server", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def client(server, exported):
    return server.application(exported / "saved_model" / "1").test_client()


def form(*files):
    return {"picture": [(io.BytesIO(content), name) for name, content in files]}


@pytest.mark.parametrize("name", all_kinds())
def test_pictures_of_any_size_and_kind_are_answered_as_by_predict(name, client, predicted):
    answer = client.post("/predict", data=all_kinds()[name])
    assert answer.status_code == 200
    assert list(answer.json["probabilities"]) == [str(digit) for digit in range(10)]
    np.testing.assert_allclose(list(answer.json["probabilities"].values()), predicted[name], atol=1e-4)
    assert answer.json["class"] == str(predicted[name].argmax())


def test_several_pictures_are_answered_in_their_order(client, predicted):
    names = ["color.jpg", "small.png", "animated.webp"]
    answer = client.post("/predict", data=form(*((name, all_kinds()[name]) for name in names)))
    assert answer.status_code == 200
    assert [picture["name"] for picture in answer.json["pictures"]] == names
    for picture in answer.json["pictures"]:
        np.testing.assert_allclose(list(picture["probabilities"].values()), predicted[picture["name"]], atol=1e-4)


def test_of_several_pictures_the_bad_one_is_named(client):
    good = all_kinds()["small.png"]
    answer = client.post("/predict", data=form(("a.png", good), ("b.png", b"text"), ("c.png", good), ("ä,.png", b"")))
    assert answer.status_code == 400
    first, second, third, fourth = answer.json["pictures"]
    assert first["class"] == third["class"]
    assert second["error"].startswith("picture 2 of 4, 'b.png', can't be answered: it is no JPEG, PNG")
    assert fourth["error"] == "picture 4 of 4, 'ä,.png', can't be answered: it is empty"


@pytest.mark.parametrize("name", no_pictures())
def test_what_is_no_picture_is_a_sentence(name, client):
    answer = client.post("/predict", data=no_pictures()[name])
    assert answer.status_code == 400
    assert re.match(r"the picture can't be answered: it is (empty|no JPEG|damaged)", answer.json["error"])


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(client):
    content = bomb()
    assert len(content) < 400_000
    started = time.perf_counter()
    answer = client.post("/predict", data=content)
    assert time.perf_counter() - started < 0.5  # 20,000 x 20,000 pixels take seconds and gigabytes.
    assert answer.status_code == 400
    assert "20000 x 20000 pixels; 50,000,000 are allowed" in answer.json["error"]


@pytest.mark.parametrize("kind", ["WEBP", "GIF"])
def test_all_images_of_an_animation_count(kind, server, client, monkeypatch):
    images = [Image.new("RGB", (40, 30), (0, 60 * number, 0)) for number in range(4)]
    content = encoded(images[0], kind, save_all=True, append_images=images[1:])
    assert client.post("/predict", data=content).status_code == 200
    monkeypatch.setattr(server, "LARGEST_PICTURE", 40 * 30 * 4 - 1)
    answer = client.post("/predict", data=content)
    assert answer.status_code == 400
    assert "40 x 30 x 4 pixels; 4,799 are allowed" in answer.json["error"]


def test_a_body_of_more_bytes_than_allowed_is_refused(server, client):
    answer = client.post("/predict", data=bytes(server.LARGEST_BODY + 1))
    assert answer.status_code == 413
    assert answer.json == {"error": "send up to 20 MB and 64 pictures at once"}
    too_many = [(f"{number}.png", b"x") for number in range(server.MOST_PICTURES + 1)]
    assert client.post("/predict", data=form(*too_many)).status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/predict", 405), ("PUT", "/predict", 405), ("GET", "/favicon.ico", 404), ("POST", "/", 405)],
)
def test_other_requests_are_sentences(method, path, status, client):
    answer = client.open(path, method=method)
    assert answer.status_code == status
    assert answer.json["error"]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"--b\r\nbroken"),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--b--\r\n'),
        ("multipart/form-data; boundary=", b""),
        ("application/json", b'{"instances": []}'),
        ("application/x-www-form-urlencoded", b"a=b&" * 1000),
        ("\xff", b"\xff"),
    ],
)  # fmt: skip
def test_odd_bodies_are_sentences(kind, body, client):
    answer = client.post("/predict", data=body, content_type=kind)
    assert answer.status_code == 400
    assert answer.json["error"]


def test_it_says_what_it_is_and_that_it_is_well(client, exported):
    told = client.get("/").json
    assert told["what"] == "says which of 10 classes is on pictures"
    assert told["model"] == str(exported / "saved_model" / "1")
    assert told["classes"] == [str(digit) for digit in range(10)]
    assert told["limits"] == {"bytes": 20 * 2**20, "pixels of a picture": 50_000_000, "pictures": 64}
    assert client.get("/healthz").json == {"status": "ok"}


def test_names_of_classes_are_utf_8_whatever_the_locale(server, tmp_path, monkeypatch):
    class Model(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
        def files(self, files):
            return {"probabilities": tf.constant([[0.25, 0.75]]), "classes": tf.constant(["größe\u3000大"])}

    model = Model()
    tf.saved_model.save(model, str(tmp_path), signatures={"files": model.files})
    (tmp_path / "assets" / "labels.txt").write_bytes("größe\u3000大\nb,\"c'\n".encode())
    monkeypatch.setattr("locale.getpreferredencoding", lambda *_: "ascii")
    monkeypatch.setattr("locale.getencoding", lambda: "ascii")
    answer = server.application(tmp_path).test_client().post("/predict", data=encoded(smooth(3, 3, 0), "PNG"))
    assert answer.json == {"class": "größe\u3000大", "probabilities": {"größe\u3000大": 0.25, "b,\"c'": 0.75}}


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("cut", "can't be read as a SavedModel"),
        ("no weights", "can't be read as a SavedModel"),
        ("no labels", "labels.txt can't be read"),
        ("labels of another encoding", "labels.txt can't be read"),
        ("no signature", "has no signature `files`"),
    ],
)
def test_a_damaged_model_is_a_sentence(damage, sentence, server, exported, tmp_path):
    folder = tmp_path / "1"
    if damage == "no signature":
        tf.saved_model.save(tf.Module(), str(folder))
        (folder / "assets" / "labels.txt").write_text("a\nb\n")
    else:
        shutil.copytree(exported / "saved_model" / "1", folder)
    labels, saved = folder / "assets" / "labels.txt", folder / "saved_model.pb"
    if damage == "cut":
        saved.write_bytes(saved.read_bytes()[:1000])
    elif damage == "no weights":
        shutil.rmtree(folder / "variables")
    elif damage == "no labels":
        labels.unlink()
    elif damage == "labels of another encoding":
        labels.write_bytes(b"gr\xf6\xdfe\n")
    with pytest.raises(SystemExit) as ending:
        server.main([str(folder), "0"])
    assert sentence in ending.value.code
    assert str(folder) in ending.value.code
    assert "\n" not in ending.value.code


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "usage: python server.py"),
        (["a"], "usage: python server.py"),
        (["a", "b"], "usage: python server.py"),
        (["a", "70000"], "usage: python server.py"),
        (["nowhere", "0"], "nowhere is no SavedModel"),
    ],
)
def test_bad_arguments_are_a_sentence(arguments, sentence, server):
    with pytest.raises(SystemExit, match=sentence):
        server.main(arguments)


def test_it_runs_without_this_package_prints_its_address_and_reads_no_large_body(exported, images, expected, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment.update(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    # In a folder from which this package can't be imported.
    command = [sys.executable, str(PATH), str(exported / "saved_model" / "1"), "0"]
    process = subprocess.Popen(
        command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        address = re.fullmatch(r"serving .* at http://127\.0\.0\.1:(\d+)/\n", process.stdout.readline())
        connection = http.client.HTTPConnection("127.0.0.1", int(address[1]), timeout=30)
        connection.request("POST", "/predict", tf.io.encode_png(images[0]).numpy())
        answer = json.load(connection.getresponse())
        assert answer["class"] == str(expected[0].argmax())
        np.testing.assert_allclose(list(answer["probabilities"].values()), expected[0], atol=1e-4)
        too_much = {"error": "send up to 20 MB and 64 pictures at once"}
        for size in (20 * 2**20 + 1, 200 * 2**20):
            assert refused(int(address[1]), ("Content-Length", str(size))) == (413, too_much)
        status, answer = refused(int(address[1]), ("Content-Length", "many"))
        assert status == 400
        assert answer["error"]
        connection.request("POST", "/predict", bytes(20 * 2**20))  # All that is allowed: read, and no picture.
        assert "it is no JPEG" in json.load(connection.getresponse())["error"]
    finally:
        process.kill()
        process.wait()


def refused(port, header):
    """Status and answer of a request of which no body is sent."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.putrequest("POST", "/predict")
    connection.putheader(*header)
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.headers["Content-Type"] == "application/json"
    return answer.status, json.load(answer)
