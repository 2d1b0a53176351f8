"""Serves an exported network over HTTP. Needs tensorflow, flask, waitress and pillow; not keras_mt, not Keras.

python docs/serving/server.py runs/pictures/export/saved_model/1 8501
curl --data-binary @picture.png http://127.0.0.1:8501/predict
curl -F picture=@a.jpg -F picture=@b.png http://127.0.0.1:8501/predict
"""

import io
import json
import os
import pathlib
import sys

import flask
import waitress
import waitress.channel
import waitress.task
import werkzeug.exceptions

LARGEST_BODY = 20 * 2**20  # Bytes.
LARGEST_PICTURE = 50_000_000  # Pixels, of all its images if it is animated.
MOST_PICTURES = 64
TOO_MUCH = f"send up to {LARGEST_BODY >> 20} MB and {MOST_PICTURES} pictures at once"
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")


class BadPicture(ValueError):
    """What is wrong with a picture."""


def application(folder):
    """Returns the WSGI application of a SavedModel."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # Of processors and drivers that are not there.
    import tensorflow as tf  # Takes seconds: a wrong command line is answered before.

    labels = pathlib.Path(folder, "assets", "labels.txt")
    try:
        names = labels.read_text(encoding="utf-8").split("\n")[:-1]
    except (OSError, UnicodeError) as error:
        sys.exit(f"{labels} can't be read ({getattr(error, 'strerror', None) or error}); export the model again")
    try:
        model = tf.saved_model.load(str(folder))  # Kept: its signatures have only weak references to its weights.
    except Exception as error:  # TensorFlow raises many kinds for damaged files.
        said = (str(error).splitlines() or [type(error).__name__])[0][:200]
        sys.exit(f"{folder} can't be read as a SavedModel ({said}); export it again")
    if "files" not in model.signatures:
        sys.exit(f"{folder} has no signature `files`; export writes one with --format=saved_model")
    answer_files = model.signatures["files"]
    app = flask.Flask(__name__)
    app.json.sort_keys = app.json.ensure_ascii = False
    app.config.update(MAX_CONTENT_LENGTH=LARGEST_BODY, MAX_FORM_PARTS=MOST_PICTURES)

    def answer(content):
        check(content)
        try:
            given = answer_files(files=tf.constant([content]))
        except tf.errors.InvalidArgumentError as error:
            raise BadPicture("it is damaged, or of a kind that TensorFlow does not decode") from error
        best, probabilities = given["classes"][0].numpy().decode(), given["probabilities"][0].numpy().tolist()
        return {"class": best, "probabilities": dict(zip(names, probabilities, strict=True))}

    @app.get("/")
    def describe():
        return {
            "what": f"says which of {len(names)} classes is on pictures",
            "model": str(folder),
            "classes": names,
            "POST /predict": "a picture as the body, or several as files of a form (multipart/form-data)",
            "GET /healthz": "answers with 200 as long as pictures are answered",
            "formats": FORMATS,
            "limits": {"bytes": LARGEST_BODY, "pixels of a picture": LARGEST_PICTURE, "pictures": MOST_PICTURES},
        }

    @app.get("/healthz")
    def healthy():
        return {"status": "ok"}

    @app.post("/predict")
    def predict():
        if flask.request.mimetype != "multipart/form-data":
            try:
                return answer(flask.request.get_data())
            except BadPicture as error:
                return {"error": f"the picture can't be answered: {error}"}, 400
        files = [file for _, file in flask.request.files.items(multi=True)]
        if not files:
            return {"error": "the form has no file; send pictures as files: curl -F picture=@a.png"}, 400
        answers, status = [], 200
        for place, file in enumerate(files, 1):
            try:
                answers.append({"name": file.filename, **answer(file.read())})
            except BadPicture as error:
                status = 400
                text = f"picture {place} of {len(files)}, {file.filename!r}, can't be answered: {error}"
                answers.append({"name": file.filename, "error": text})
        return {"pictures": answers}, status

    @app.errorhandler(werkzeug.exceptions.HTTPException)
    def in_words(error):
        return {"error": TOO_MUCH if error.code == 413 else error.description}, error.code

    return app


def check(content):
    """Looks at the header of a picture alone: decoding a small file can take gigabytes."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # Checked here, with a sentence.
    if not content:
        raise BadPicture("it is empty")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            width, height, images = *picture.size, 1
            if picture.format in ("GIF", "WEBP"):  # TensorFlow unpacks all images, to use the first.
                images = picture.n_frames
    except Exception as error:  # Pillow raises many kinds for damaged files.
        raise BadPicture(f"it is no {', '.join(FORMATS[:-1])} or WebP picture") from error
    if width * height * images > LARGEST_PICTURE:
        animated = f" x {images}" if images > 1 else ""
        raise BadPicture(f"it has {width} x {height}{animated} pixels; {LARGEST_PICTURE:,} are allowed")


class Refusal(waitress.task.ErrorTask):
    """What waitress refuses before the application sees it, a large body say, is answered in the same form."""

    def execute(self):
        error = self.request.error
        body = json.dumps({"error": TOO_MUCH if error.code == 413 else error.body}).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/json"))
        self.content_length = len(body)
        self.set_close_on_finish()
        self.write(body)


class Channel(waitress.channel.HTTPChannel):
    """A connection whose refusals are of this form."""

    error_task_class = Refusal


def main(arguments):
    """Serves until the process is ended."""
    if len(arguments) != 2 or not arguments[1].isdecimal() or int(arguments[1]) > 65535:
        sys.exit("usage: python server.py FOLDER_OF_A_SAVED_MODEL PORT")
    folder = pathlib.Path(arguments[0])
    if not (folder / "saved_model.pb").is_file():
        sys.exit(f"{folder} is no SavedModel; export writes one to OUTPUT/VERSION, such as export/saved_model/1")
    app = application(folder)
    try:
        server = waitress.create_server(
            app,
            host="127.0.0.1",
            port=int(arguments[1]),
            max_request_body_size=LARGEST_BODY + 1,  # Of so many it is refused, before it is read.
        )
    except OSError as error:
        sys.exit(f"port {arguments[1]} can't be used ({error.strerror})")
    server.channel_class = Channel
    print(f"serving {folder} at http://127.0.0.1:{server.effective_port}/", flush=True)
    server.run()


if __name__ == "__main__":
    main(sys.argv[1:])
