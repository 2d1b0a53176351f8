"""The page that goes with an exported network: what it is, what it was trained on, how good it was, its limits."""

import datetime

from keras_mt.experiments import flagging
from keras_mt.experiments.reporting.markdown import escaped, fenced
from keras_mt.experiments.running.chance import no_better, sentence
from keras_mt.experiments.running.evaluation_rows import read_rows
from keras_mt.experiments.running.results import read_results
from keras_mt.experiments.running.run_directory import RunDirectory
from keras_mt.experiments.running.saved_networks import SavedNetwork

TITLE = "# Model card: "
_NAMED = 50  # Classes.


def model_card(run: RunDirectory, saved: SavedNetwork, file_name: str) -> str:
    """Returns the model card of an exported network as Markdown.

    Args:
        run: The run it comes from.
        saved: The network.
        file_name: What it is exported as.

    Raises:
        RunError: If a file of the run that it tells of is damaged.
    """
    rows = [row for row in read_rows(run.evaluations) if row["step"] <= saved.step]
    results = read_results(run.results) if run.results.exists() else {}
    config = run.recorded()
    data, names = saved.data, ", ".join(map(escaped, saved.class_names[:_NAMED]))
    if len(saved.class_names) > _NAMED:
        names += ", ..."
    errors = "It was not evaluated."
    if rows:
        last = rows[-1]
        errors = (
            f"| network | error on {data['evaluated on']} images (step {last['step']}) |\n| --- | --- |\n"
            f"| teacher (the average of the student's weights) | {last['teacher_error']:.2f} % |\n"
            f"| student | {last['student_error']:.2f} % |"
        )
        if "average_error" in last:
            errors += f"\n| average (the second, longer one) | {last['average_error']:.2f} % |"
        if "error of chance" in data:
            chance = {"error": data["error of chance"], "images": data["evaluated on"]}
            error = last[f"{saved.which}_error"]
            if no_better(error, chance):
                errors += f"\n\n**This {saved.which} has learned nothing of use**: {sentence(error, chance)}."
    settings = "\n".join(flagging.as_flagfile(config, without=["run_dir"]))
    versions = ", ".join(f"{escaped(name)} {escaped(version)}" for name, version in results.get("versions", {}).items())
    versions = versions or "unknown versions (the run had not ended)"
    shape = "×".join(map(str, saved.network.inputs[0].shape[1:]))
    images = "test images" if config.phase == "test" else "images held out of the training split (validation phase)"
    return f"""{TITLE}{file_name}

The **{saved.which}** of a run of [keras_mt](https://arxiv.org/abs/1703.01780) (method `{config.method}`), step
{saved.step}. Exported on {datetime.date.today().isoformat()}; trained with {versions}.

## What it does

From a picture ({shape} numbers from 0 to 255, or an encoded file) to the probabilities of {len(saved.class_names)}
classes: {names}. Whatever prepares the picture (standardization, whitening) is inside. Noise, translation and dropout
of training are off.

## Data

{escaped(data["name"])} ({escaped(data["origin"])}): {data["training examples"]} training examples,
{data["labeled"]} of them labeled.

## Errors

{errors}

These are errors on the {images} of the same data set.

## Limits

- It knows these classes only, and gives one of them to every picture, whatever it shows.
- Probabilities were not calibrated.
- Pictures unlike those it was trained on (other cameras, sizes, crops) can have other errors than these.
- It was trained from few labels: an error among them is learned.

## Settings

{fenced(settings)}
"""
