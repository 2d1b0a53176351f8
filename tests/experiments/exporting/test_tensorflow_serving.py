"""The contract of TensorFlow Serving: a model that is exported takes and gives what its messages say.

The server itself is no Python package and is not run. What stands for it here is made of the definitions of its
messages (tensorflow-serving-api) and of the rules of its REST page, and asks the signatures of the exported model.
"""

import base64
import concurrent.futures
import contextlib
import http.server
import importlib.util
import json
import threading

import numpy as np
import pytest
import tensorflow as tf
from support.pictures import all_kinds
from support.programs import ROOT

NAMES = ["small.png", "color.jpg", "animated.webp", "gray.bmp"]


@pytest.fixture(scope="module")
def client():
    spec = importlib.util.spec_from_file_location("client", ROOT / "docs" / "serving" / "client.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def answer_json(body, model):
    """Answers a body as https://www.tensorflow.org/tfx/serving/api_rest says."""
    request = json.loads(body)
    signature = model.signatures[request.get("signature_name", "serving_default")]
    inputs = signature.structured_input_signature[1]

    def value(part):
        if isinstance(part, dict) and list(part) == ["b64"]:
            return base64.b64decode(part["b64"], validate=True)
        return [value(item) for item in part] if isinstance(part, list) else part

    rows = request["instances"]
    if len(inputs) == 1 and not (isinstance(rows[0], dict) and set(rows[0]) == set(inputs)):
        rows = [{next(iter(inputs)): row} for row in rows]  # Of one input the name may be left out.
    columns = {name: tf.constant([value(row[name]) for row in rows], spec.dtype) for name, spec in inputs.items()}
    outputs = {name: tensor.numpy() for name, tensor in signature(**columns).items()}
    assert all(len(output) == len(rows) for output in outputs.values())  # Else it is no row format.
    # A text whose name ends in _bytes is answered as base64, others as they are.
    assert not any(name.endswith("_bytes") for name in outputs)

    def plain(number):
        return number.decode() if isinstance(number, bytes) else number.tolist()

    answers = [{name: plain(output[row]) for name, output in outputs.items()} for row in range(len(rows))]
    return {"predictions": [next(iter(row.values())) for row in answers] if len(outputs) == 1 else answers}


@contextlib.contextmanager
def rest_server(model):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            assert self.path == "/v1/models/digits:predict"
            text = json.dumps(answer_json(self.rfile.read(int(self.headers["Content-Length"])), model)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextlib.contextmanager
def grpc_server(model):
    import grpc
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            assert request.model_spec.name == "digits"
            signature = model.signatures[request.model_spec.signature_name or "serving_default"]
            given = {name: tf.constant(tf.make_ndarray(proto)) for name, proto in request.inputs.items()}
            answer = predict_pb2.PredictResponse()
            for name, tensor in signature(**given).items():
                answer.outputs[name].CopyFrom(tf.make_tensor_proto(tensor))
            return answer

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@pytest.mark.parametrize("kind", ["rest", "grpc"])
def test_pictures_are_answered_as_by_predict(kind, client, saved_model, predicted):
    if kind == "grpc":
        pytest.importorskip("tensorflow_serving")
    serve, ask = {"rest": (rest_server, client.ask_rest), "grpc": (grpc_server, client.ask_grpc)}[kind]
    with serve(saved_model) as address:
        answers = ask(address, "digits", [all_kinds()[name] for name in NAMES])
    for name, (best, probabilities) in zip(NAMES, answers, strict=True):
        np.testing.assert_allclose(probabilities, predicted[name], atol=1e-4)
        assert best == str(predicted[name].argmax())


def test_json_of_numbers_is_answered_by_the_default_signature_and_by_pixels(saved_model, images, expected):
    for name in ("serving_default", "pixels"):
        body = json.dumps({"signature_name": name, "instances": images[:3].tolist()})
        np.testing.assert_allclose(answer_json(body, saved_model)["predictions"], expected[:3], atol=1e-5)


def test_an_input_may_be_named_in_json(saved_model, predicted):
    picture = {"b64": base64.b64encode(all_kinds()["small.png"]).decode()}
    body = json.dumps({"signature_name": "files", "instances": [{"files": picture}]})
    (answer,) = answer_json(body, saved_model)["predictions"]
    np.testing.assert_allclose(answer["probabilities"], predicted["small.png"], atol=1e-4)


def test_messages_are_those_of_tensorflow_serving(client, monkeypatch):
    apis = pytest.importorskip("tensorflow_serving.apis.prediction_service_pb2_grpc")
    from tensorflow_serving.apis import predict_pb2

    # Serialized by tensorflow-serving-api 2.21.0 of requests and answers put together by hand.
    request = (
        "0a0f0a066469676974731a0566696c6573121f0a0566696c65731216080712041202080142" + "0c89504e472070696374757265"
    )
    answer = (
        "0a160a07636c6173736573120b08071204120208014201620a270a0d70726f626162696c6974696573121608011208120208011202080222"
        "080000803e0000403f"
    )
    sent = []

    class Stub:
        def __init__(self, channel):
            pass

        def Predict(self, message, timeout):
            sent.append(message.SerializeToString(deterministic=True).hex())
            return predict_pb2.PredictResponse.FromString(bytes.fromhex(answer))

    monkeypatch.setattr(apis, "PredictionServiceStub", Stub)
    assert client.ask_grpc("127.0.0.1:1", "digits", [b"\x89PNG picture"]) == [("b", [0.25, 0.75])]
    assert sent == [request]
