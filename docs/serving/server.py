"""Serves an exported network over HTTP. Needs tensorflow, flask and waitress; not keras_mt, not Keras.

python server.py runs/digits_50/export/saved_model/1 8501
curl --data-binary @picture.png http://127.0.0.1:8501/predict
"""

import pathlib
import sys

import flask
import tensorflow as tf
import waitress

app = flask.Flask(__name__)
model = tf.saved_model.load(sys.argv[1])
names = pathlib.Path(sys.argv[1], "assets", "labels.txt").read_text().splitlines()
LARGEST = 20 * 2**20


@app.post("/predict")
def predict():
    picture = flask.request.get_data()
    if not picture or len(picture) > LARGEST:
        return {"error": f"send one picture of up to {LARGEST >> 20} MB as the body"}, 400
    try:
        answer = model.signatures["files"](files=tf.constant([picture]))
    except tf.errors.InvalidArgumentError:
        return {"error": "the body is no JPEG, PNG, BMP, GIF or WebP picture"}, 400
    probabilities = answer["probabilities"][0].numpy().tolist()
    name = answer["classes"][0].numpy().decode()
    return {"class": name, "probabilities": dict(zip(names, probabilities, strict=True))}


if __name__ == "__main__":
    waitress.serve(app, host="127.0.0.1", port=int(sys.argv[2]))
