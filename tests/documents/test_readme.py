"""The README's code runs as it stands and prints what it says; its commands are ones that the programs take."""

import re
import shlex
import tomllib

import keras
import pytest
from support.programs import ROOT

from keras_mt.experiments import commands
from keras_mt.experiments.config import Config

README = (ROOT / "README.md").read_text()
CLASSES = ("cat", "dog")


def commands_of(text):
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return re.findall(r"^    (\S.*)$", text.replace("\\\n", ""), re.MULTILINE)


def of_programs(text):
    return [shlex.split(command)[2:] for command in commands_of(text) if command.startswith("python -m keras_mt.")]


COMMANDS = commands_of(README)
# Each page is followed from its top; the pictures are those of the README in both.
PAGES = {"README.md": README, "own_data.md": (ROOT / "docs" / "own_data.md").read_text()}


def without_figures(text):
    return re.sub(r"\d+\.\d+(e-\d+)?", "#", text)


def test_the_script_of_readme_and_quick_start_trains_a_plain_model_and_prints_what_it_says(
    capsys, tmp_path, monkeypatch
):
    script, printed = re.findall(r"```(?:python)?\n(.*?)```", README, re.DOTALL)[:2]
    scope = {}
    exec(compile(script, "README.md", "exec"), scope)
    shown = capsys.readouterr().out
    results = scope["model"].evaluate(scope["x"][scope["test"]], scope["y"][scope["test"]], verbose=0, return_dict=True)
    assert results["teacher_error"] < 0.2
    assert "the teacher predicts" in shown
    assert without_figures(shown).split() == without_figures(printed).split()

    quick_start = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "index.md").read_text(), re.DOTALL)
    same, *further = "".join(re.sub(r"  # \d.*", "", block) for block in quick_start).partition(script)[1:]
    assert same == script
    monkeypatch.chdir(tmp_path)
    exec(compile("".join(further), "index.md", "exec"), scope)
    assert type(keras.saving.load_model("teacher.keras")) is keras.Sequential


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A folder with the files of a clone that the commands name, with pictures, and with what they have trained."""
    for name in ("flags", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    for folder in (*CLASSES, "unlabeled", "test/cat", "test/dog"):
        (tmp_path / "pictures" / folder).mkdir(parents=True)
        (tmp_path / "pictures" / folder / "1.png").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_program_is_one_that_it_takes_after_those_before_it(clone, page):
    programs = [module.removeprefix("keras_mt.") for module, *_ in of_programs(PAGES[page])]
    assert {"train", "predict"} <= set(programs)
    for module, *arguments in of_programs(PAGES[page]):
        if ">" in arguments:
            arguments = arguments[: arguments.index(">")]
        prepared = commands.prepared(module.removeprefix("keras_mt."), arguments)
        if module == "keras_mt.train":  # What later commands name is then a run's folder.
            config, _, _, run = prepared
            run.create(config)
            run.release()
        if module == "keras_mt.sweep":
            (planned,) = prepared
            (clone / "runs" / "svhn").mkdir(parents=True, exist_ok=True)
            assert {str(planned[0][0].name).split("/")[0]} == {"runs"}
        if module == "keras_mt.report":
            (options, _) = prepared
            assert all((clone / runs).is_dir() for runs in options.runs)


@pytest.mark.parametrize("page", PAGES)
def test_the_weight_for_own_pictures_is_that_for_as_many_classes(page):
    arguments = of_programs(PAGES[page])[0][1:]
    given = dict(argument.removeprefix("--").split("=") for argument in arguments)
    share = int(given["labeled_per_batch"]) / Config().batch_size
    assert float(given["max_consistency_weight"]) == len(CLASSES) ** 2 * share


def test_every_other_command_names_what_is_there():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE).group(1).split()
    server = (ROOT / "docs" / "serving" / "server.py").read_text()
    others = [command for command in COMMANDS if not command.startswith("python -m keras_mt.")]
    others += re.findall(r"`((?:make|pip|python) [^`]*)`", README)
    assert len(others) >= 7
    for command in others:
        program, *arguments = shlex.split(command)
        if program == "make":
            assert arguments[0] in targets
        elif program == "pip" and arguments[1].startswith("."):
            assert set(re.findall(r"\[(.*)\]", arguments[1])) <= set(extras)
        elif program == "pip":  # What the server imports.
            imported = set(re.findall(r"^\s*(?:import|from) (\w+)", server, re.MULTILINE))
            assert {name.replace("pillow", "PIL") for name in arguments[1:]} <= imported
        elif program == "python":
            path, exported, port = arguments
            assert (ROOT / path).is_file()
            assert exported.startswith("runs/pictures/")
        else:
            assert program == "curl"
            assert arguments[-1].endswith(f":{port}/predict")
            assert '"/predict"' in server


def test_the_readme_is_short_and_what_it_links_to_is_there():
    assert sum(any(c.isalnum() for c in word) for word in README.split()) <= 900
    links = re.findall(r"\]\(([^)]*)\)|(?:src|srcset)=\"([^\"]*)\"", README)
    for link in (first or second for first, second in links):
        assert link.startswith("https://") or (ROOT / link.partition("#")[0]).exists(), link
