"""The README's example on a few digits, then evaluation, saving, loading and export. Run where the wheel is installed.

python wheel_example.py README.md DIGITS.npz FOLDER
"""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

readme, digits, folder = sys.argv[1:]
LOADING = "from sklearn.datasets import load_digits\n"


def load_digits(return_X_y):
    data = np.load(digits)
    return data["x"], data["y"]


for name in ("matplotlib", "pandas", "sklearn", "scipy", "tensorflow_datasets", "filelock", "tqdm", "tensorboard"):
    assert importlib.util.find_spec(name) is None, name
script = re.findall(r"```python\n(.*?)```", Path(readme).read_text(), re.DOTALL)[0]
assert LOADING in script  # The one line of it that needs more than the library: the data are of scikit-learn.
scope = {"load_digits": load_digits}
exec(compile(script.replace(LOADING, ""), readme, "exec"), scope)
keras, model, x, y, test = (scope[name] for name in ("keras", "model", "x", "y", "test"))

results = model.evaluate(x[test], y[test], verbose=0, return_dict=True)
assert results["teacher_error"] < 0.2, results
expected = model.predict(x[test], verbose=0)

model.save(f"{folder}/model.keras")
loaded = keras.saving.load_model(f"{folder}/model.keras")
np.testing.assert_allclose(loaded.predict(x[test], verbose=0), expected, atol=1e-5)
assert loaded.evaluate(x[test], y[test], verbose=0, return_dict=True)["teacher_error"] == results["teacher_error"]

model.export(f"{folder}/exported", verbose=False)
exported = tf.saved_model.load(f"{folder}/exported")
np.testing.assert_allclose(exported.serve(tf.constant(x[test])), expected, atol=1e-5)
print("teacher_error", results["teacher_error"])
