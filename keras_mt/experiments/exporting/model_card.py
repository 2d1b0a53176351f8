"""The page that goes with an exported network: what it is, what it was trained on, how good it was, its limits."""

import datetime
import json

from keras_mt.experiments.running.evaluation_log import read_rows
from keras_mt.experiments.running.run_directory import RunDirectory
from keras_mt.experiments.running.saved_networks import SavedNetwork


def model_card(run: RunDirectory, saved: SavedNetwork, file_name: str) -> str:
    """Returns the model card of an exported network as Markdown.

    Args:
        run: The run it comes from.
        saved: The network.
        file_name: What it is exported as.
    """
    rows = [row for row in read_rows(run.evaluations) if row["step"] <= saved.step]
    results = json.loads(run.results.read_text()) if run.results.exists() else {}
    errors = "It was not evaluated."
    if rows:
        last = rows[-1]
        errors = (
            f"| network | error on {saved.data['evaluated on']} images (step {last['step']}) |\n| --- | --- |\n"
            f"| teacher (the average of the student's weights) | {last['teacher_error']:.2f} % |\n"
            f"| student | {last['student_error']:.2f} % |"
        )
    flags = run.flagfile.read_text().splitlines()
    settings = [line for line in flags if line.startswith("--")]
    method = next((line.split("=")[1] for line in settings if line.startswith("--method=")), "mean_teacher")
    phase = next((line.split("=")[1] for line in settings if line.startswith("--phase=")), "test")
    versions = ", ".join(f"{name} {version}" for name, version in results.get("versions", {}).items())
    data, names = saved.data, ", ".join(saved.class_names[:50])
    shape = "×".join(map(str, saved.network.inputs[0].shape[1:]))
    images = "test images" if phase == "test" else "images held out of the training split (validation phase)"
    return f"""# Model card: {file_name}

The **{saved.which}** of a run of [keras_mt](https://arxiv.org/abs/1703.01780) (method `{method}`), step {saved.step}.
Exported on {datetime.date.today().isoformat()}; trained with {versions or "unknown versions (the run had not ended)"}.

## What it does

From a picture ({shape} numbers from 0 to 255, or an encoded file) to the probabilities of {len(saved.class_names)}
classes: {names}. Whatever prepares the picture (standardization, whitening) is inside. Noise, translation and dropout
of training are off.

## Data

{data["name"]} ({data["origin"]}): {data["training examples"]} training examples, {data["labeled"]} of them labeled.

## Errors

{errors}

These are errors on the {images} of the same data set.

## Limits

- It knows these classes only, and gives one of them to every picture, whatever it shows.
- Probabilities were not calibrated.
- Pictures unlike those it was trained on (other cameras, sizes, crops) can have other errors than these.
- It was trained from few labels: an error among them is learned.

## Settings

```
{chr(10).join(settings)}
```
"""
