"""Asks TensorFlow Serving what is on pictures: over REST, or over gRPC, which needs tensorflow-serving-api.

python docs/serving/client.py http://127.0.0.1:8501 pictures a.jpg b.png
python docs/serving/client.py 127.0.0.1:8500 pictures a.jpg b.png
"""

import base64
import json
import pathlib
import sys
import urllib.request

SIGNATURE = "files"


def ask_rest(address, model, pictures):
    """Returns `(class, probabilities)` of each of some pictures, given as the bytes of their files."""
    instances = [{"b64": base64.b64encode(content).decode()} for content in pictures]
    body = json.dumps({"signature_name": SIGNATURE, "instances": instances}).encode()
    request = urllib.request.Request(f"{address}/v1/models/{model}:predict", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return [(one["classes"], one["probabilities"]) for one in json.load(answer)["predictions"]]


def ask_grpc(address, model, pictures):
    """As `ask_rest` does."""
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model, SIGNATURE
    request.inputs["files"].CopyFrom(tf.make_tensor_proto(list(pictures), dtype=tf.string))
    with grpc.insecure_channel(address) as channel:
        answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=60)
    classes, probabilities = (tf.make_ndarray(answer.outputs[name]) for name in ("classes", "probabilities"))
    return [(name.decode(), row.tolist()) for name, row in zip(classes, probabilities, strict=True)]


if __name__ == "__main__":
    address, model, *paths = sys.argv[1:]
    ask = ask_rest if address.startswith("http") else ask_grpc
    for path, (name, probabilities) in zip(
        paths, ask(address, model, [pathlib.Path(path).read_bytes() for path in paths]), strict=True
    ):
        print(path, name, max(probabilities))
