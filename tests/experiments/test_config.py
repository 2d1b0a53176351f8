"""The configuration of an experiment, the flags that are defined from it, and what is answered before TensorFlow."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.programs import ROOT

from keras_mt.experiments import checks, commands, flagging
from keras_mt.experiments.config import Config
from keras_mt.experiments.errors import UsageError
from keras_mt.experiments.options import kind_of
from keras_mt.experiments.preprocessing import preprocessing_of

FIELDS = {field.name: field for field in dataclasses.fields(Config)}
# Where a run is kept, where its data lie and what it runs on.
NOT_OF_THE_EXPERIMENT = {
    "run_dir", "ramps_cut_off", "data_dir", "cache_dir", "checkpoint_steps", "strategy", "logical_devices", "onednn",
    "worker_timeout",
}  # fmt: skip


def parsed(*arguments):
    return flagging.parse([Config], arguments)


# One source -------------------------------------------------------------------------------------------------------


def test_the_choices_are_the_librarys():
    from keras_mt.architectures import ARCHITECTURES
    from keras_mt.averages import TEACHER_STATISTICS
    from keras_mt.callback import RAMPUPS
    from keras_mt.data.sampling import UNLABELED_STREAMS
    from keras_mt.experiments.datasets.streamed import AUGMENTATIONS
    from keras_mt.experiments.running.experiment import DTYPES, JIT_COMPILE, REDUCTIONS
    from keras_mt.experiments.running.method_parts import MIXINGS
    from keras_mt.experiments.running.strong_views import STRONG_AUGMENTATIONS
    from keras_mt.mean_teacher import METHODS, STATISTICS_OF, TEACHER_SEES
    from keras_mt.optimizers.nesterov_sgd import DECAYED

    for name, values in {
        "architecture": ARCHITECTURES, "consistency_rampup": RAMPUPS, "unlabeled_stream": UNLABELED_STREAMS,
        "augmentation": AUGMENTATIONS, "precision": DTYPES, "jit_compile": JIT_COMPILE, "averaged_over": REDUCTIONS,
        "method": METHODS, "weight_decay_on": DECAYED, "teacher_statistics": TEACHER_STATISTICS,
        "mixing": MIXINGS, "strong_augmentation": STRONG_AUGMENTATIONS, "statistics_of": STATISTICS_OF,
        "teacher_sees": TEACHER_SEES,
    }.items():  # fmt: skip
        assert FIELDS[name].metadata["choices"] == tuple(values), name


def test_a_configuration_is_its_defaults_without_a_command_line():
    assert parsed().options == (Config(),)
    checks.check(Config())


def test_a_configuration_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().seed = 1


def test_a_flagfile_of_a_configuration_is_read_back_as_it(tmp_path):
    texts = {"blocks": "4,4,4", "labels_file": "a b=c.txt", "run_dir": "runs/ü"}
    other = {
        name: texts.get(name, "17" if FIELDS[name].metadata["words"] else value)
        for name, value in changed_values().items()
    }
    config = Config(**other)
    (tmp_path / "flags.cfg").write_text("\n".join(flagging.as_flagfile(config)), encoding="utf-8")
    assert parsed(f"--flagfile={tmp_path / 'flags.cfg'}").options == (config,)
    assert parsed(*flagging.as_flagfile(config)).options == (config,)


def changed_values():
    """For each field a value that is not its default."""
    values = {}
    for name, field in FIELDS.items():
        kind, about = kind_of(field), field.metadata
        if kind is bool:
            values[name] = not field.default
        elif about["choices"]:
            values[name] = next(choice for choice in about["choices"] if choice != field.default)
        elif kind is str:
            values[name] = "4,4" if name == "blocks" else "5" if about["words"] else "text"
        else:
            values[name] = kind(about["high"] if about["high"] != field.default else about["low"])
        assert values[name] != field.default
    return values


# Identity ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIELDS)
def test_the_identity_is_everything_but_where_a_run_is_kept_and_what_it_runs_on(name):
    changed = dataclasses.replace(Config(), **{name: changed_values()[name]})
    other = name not in NOT_OF_THE_EXPERIMENT
    assert (changed.identity() != Config().identity()) == other
    assert (changed.fingerprint() != Config().fingerprint()) == other


def test_a_list_of_labels_that_was_moved_is_the_same_experiments():
    there, moved, other = (Config(labels_file=path).identity() for path in ("/a/labels.txt", "labels.txt", "a/new.txt"))
    assert there == moved != other


def test_the_fingerprint_is_the_same_in_another_process():
    code = "from keras_mt.experiments.config import Config; print(Config(seed=3).fingerprint())"
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert process.stdout.strip() == Config(seed=3).fingerprint()


# Values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, field in FIELDS.items() if kind_of(field) in (int, float)])
def test_every_number_has_bounds_that_a_command_line_and_a_program_keep(name):
    low, high = (FIELDS[name].metadata[bound] for bound in ("low", "high"))
    kind = kind_of(FIELDS[name])
    for inside in (low, high):
        assert getattr(parsed(f"--{name}={inside}").options[0], name) == getattr(Config(**{name: kind(inside)}), name)
    for outside in (low - 1, high + 1 + high // 2, 10**30):
        with pytest.raises(UsageError, match=f"--{name}="):
            parsed(f"--{name}={outside}")
        with pytest.raises(UsageError, match=f"--{name}="):
            Config(**{name: kind(outside)})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", "100"), ("batch_size", True), ("batch_size", 1.5), ("batch_size", None), ("flip", 1),
        ("width", float("nan")), ("width", float("inf")), ("method", "magic"), ("num_labels", "few"),
        ("num_labels", "0"), ("num_labels", 50), ("blocks", "4,"), ("blocks", "4,99999999999"),
        ("dataset", "digits\n--seed=3"), ("labels_file", "a\0b"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_refused_without_a_command_line(name, value):
    with pytest.raises(UsageError, match=f"--{name}="):
        Config(**{name: value})


# Command lines ----------------------------------------------------------------------------------------------------


def test_later_flags_win_and_booleans_are_negated(tmp_path):
    (tmp_path / "a.cfg").write_text("# comment\n\n--seed=1\n--flip\n  --num_labels=50  \n// comment\n")
    (tmp_path / "b.cfg").write_text(f"\ufeff--flagfile={tmp_path / 'a.cfg'}\n--width=2\n", encoding="utf-8")
    command = parsed("--seed=3", f"--flagfile={tmp_path / 'b.cfg'}", "--noflip", "-batch_size", "20")
    assert command.options == (Config(seed=1, num_labels="50", width=2.0, batch_size=20),)
    assert command.given == {"seed", "flip", "num_labels", "width", "batch_size"}
    assert command.typed == {"seed", "flagfile", "flip", "batch_size"}
    assert parsed(f"--flagfile={tmp_path / 'b.cfg'}", "--seed=3", "--seed=4").options[0].seed == 4


@pytest.mark.parametrize(
    "argument",
    [
        "--noflip=3", "--noflip=", "--noseed", "--seed", "--=3", "---seed=3", "--no", "--flip=2", "--seed=0x",
        "--seed= ", "--no_such", "--batch_size=99999999999999999999", "--width=1e999", "--flagfile", "--flagfile=",
        "--helpme", "--seed=" + "9" * 5000,
    ],
)  # fmt: skip
def test_a_mistyped_argument_is_one_sentence(argument):
    with pytest.raises(UsageError) as raised:
        commands.prepared("train", [argument])
    assert argument.strip("-=").partition("=")[0].removeprefix("no") in str(raised.value)


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("--seed=x", "--seed=x must be a whole number from 0 to 2,147,483,647"),
        ("--seed=1.5", "--seed=1.5 must be a whole number from 0 to 2,147,483,647"),
        ("--batch_size=", "--batch_size= must be a whole number from 1 to 1,000,000"),
        ("--width=wide", "--width=wide must be a number from 0.01 to 16.0"),
        ("--flip=sideways", "--flip=sideways must be true or false"),
        ("--method=magic", "--method=magic: value should be one of"),
    ],
)
def test_a_value_of_another_kind_is_told_with_what_is_allowed(argument, sentence):
    with pytest.raises(UsageError) as raised:
        commands.prepared("train", ["--run_dir=nowhere", argument])
    assert str(raised.value).startswith(sentence)


@pytest.mark.parametrize("following", ["--seed=3", "-seed=3", "--noflip", "--"])
@pytest.mark.parametrize("flag", ["--run_dir", "-cache_dir", "--flagfile"])
def test_a_flag_is_not_taken_for_the_value_of_another(flag, following):
    with pytest.raises(UsageError) as raised:
        parsed(flag, following)
    assert f"--{flag.strip('-')}" in str(raised.value)
    assert following in str(raised.value)
    assert parsed("--run_dir=--seed=3", "--width", "2").options == (Config(run_dir="--seed=3", width=2.0),)


@pytest.mark.parametrize("program", commands.PROGRAMS)
def test_the_users_folder_is_meant_by_a_tilde_in_every_path(program, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    classes = commands.PROGRAMS[program].options
    fields = [field for options in classes for field in dataclasses.fields(options)]
    paths = {"run_dir", "data_dir", "cache_dir", "labels_file", "sweep", "runs", "contact_sheet", "output"}
    for field in fields:
        assert field.metadata["path"] == (field.name in {*paths, "introduction"}), field.name
        if not field.metadata["path"]:
            continue
        command = flagging.parse(classes, [f"--{field.name}=~/x"])
        (value,) = (getattr(options, field.name) for options in command.options if hasattr(options, field.name))
        assert value == (("/home/me/x",) if kind_of(field) is tuple else "/home/me/x")
        with pytest.raises(UsageError, match=f"--{field.name}=~nosuchuser/x: there is no user 'nosuchuser'"):
            flagging.parse(classes, [f"--{field.name}=~nosuchuser/x"])


@pytest.mark.parametrize("program", commands.PROGRAMS)
def test_an_empty_text_is_no_value(program):
    classes = commands.PROGRAMS[program].options
    for field in (field for options in classes for field in dataclasses.fields(options)):
        if kind_of(field) in (str, tuple) and not field.metadata["choices"]:
            with pytest.raises(UsageError, match=f"--{field.name}= "):
                flagging.parse(classes, [f"--{field.name}="])


@pytest.mark.parametrize("flag", ["num_labels", "labeled_per_batch", "blocks"])
@pytest.mark.parametrize("number", ["050", "\u0665\u0660", "+5", " 5", "9" * 5000])
def test_a_number_in_a_text_is_written_in_one_way(flag, number):
    with pytest.raises(UsageError, match=f"--{flag}="):
        parsed(f"--{flag}={number}")


def test_flags_that_are_not_known_cannot_be_allowed():
    with pytest.raises(UsageError, match="--undefok is no flag"):
        parsed("--undefok=foo", "--foo=3")


def test_help_is_not_asked_for_by_what_follows_the_flags():
    assert flagging.asks_for_help(["--run_dir=R", "--help"])
    assert not flagging.asks_for_help(["--run_dir=R", "--", "--help"])


def test_a_ramp_is_cut_off_only_for_a_flagfile_that_the_command_line_makes_short(capsys):
    config = Config(rampup_steps=500, training_steps=10)
    typed = {"flagfile", "training_steps"}
    checks.checked(config, typed)
    assert "warning: --rampup_steps=500 is above --training_steps=10" in capsys.readouterr().err
    for typed in (frozenset(), {"flagfile"}, {"training_steps"}, {"flagfile", "training_steps", "rampup_steps"}):
        with pytest.raises(UsageError, match="a ramp must end within the run"):
            checks.checked(config, typed)


def test_a_cosine_ends_with_the_run_but_for_rounding_or_after_it():
    config = Config(learning_rate_schedule="cosine", cosine_epochs=273.0)
    checks.check_cosine(config, 199_992, 200_000)  # flags/svhn_1000_ict.cfg
    checks.check_cosine(config, 300_000, 200_000)
    with pytest.raises(UsageError, match="--cosine_epochs=273.0 ends before .*from step 199992 on"):
        checks.check_cosine(config, 199_992, 220_000)
    checks.check_cosine(Config(), 1, 220_000)


# Before TensorFlow ------------------------------------------------------------------------------------------------


def test_the_help_has_the_groups_in_order_of_use_with_defaults():
    text = commands.help_of("train")
    groups = re.findall(r"^(\w+):$", text, re.MULTILINE)
    assert groups == ["run", "data", "network", "method", "schedule", "optimizer", "evaluation", "machine"]
    for name, field in FIELDS.items():
        assert re.search(rf"^  --(\[no\])?{name}: ", text, re.MULTILINE)
        assert field.metadata["help"].split()[0] in text
    assert "(from 1 to 1,000,000; default: 100)" in " ".join(text.split())
    assert "default: noflip" in " ".join(text.split())  # A line may end there.
    assert "--flagfile" in text


@pytest.mark.parametrize("name", commands.PROGRAMS)
def test_help_and_usage_errors_come_before_tensorflow(name, tmp_path):
    code = f"""
import sys
from keras_mt.experiments.cli import main
for arguments, status in ((["--help"], None), (["--no_such_flag"], 2), ([], 2), ({usage_error(name)!r}, 2)):
    try:
        main({name!r}, arguments)
        assert status is None
    except SystemExit as error:
        assert error.code == status
print([heavy for heavy in ("tensorflow", "keras", "numpy") if heavy in sys.modules])
"""
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "COLUMNS": "1"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert process.stdout.splitlines()[-1] == "[]"
    assert process.stderr.count("error: ") == 3


def usage_error(name):
    """A command line whose flags contradict each other or what is there."""
    return {
        "train": ["--run_dir=run", "--labeled_per_batch=101"],
        "evaluate": ["--run_dir=nowhere"],
        "sweep": ["--sweep=nowhere.toml"],
        "predict": ["--run_dir=nowhere", "a.jpg"],
        "export": ["--run_dir=nowhere"],
        "report": ["--runs=."] + ["--introduction=nowhere"],
    }[name]


def test_flags_and_the_command_line_are_read_in_one_module():
    readers = [
        path.relative_to(ROOT).as_posix()
        for path in sorted(Path(ROOT, "keras_mt").rglob("*.py"))
        if re.search(r"FLAGS\b|sys\.argv", path.read_text())
    ]
    assert readers == ["keras_mt/experiments/flagging.py"]


def test_a_version_of_a_data_set_changes_nothing_but_where_it_is_read():
    versioned = Config(dataset="cifar10:3.0.2")
    assert versioned.dataset_name == Config(dataset="cifar10").dataset_name == "cifar10"
    assert preprocessing_of(versioned.preprocessing, versioned.architecture, versioned.dataset_name) == "zca"
    checks.check(Config(dataset="svhn_cropped:3.0.0", num_extra_unlabeled=5))
    with pytest.raises(UsageError, match="--num_extra_unlabeled=5 needs --dataset=svhn_cropped, not mnist"):
        checks.check(Config(dataset="mnist:3.0.1", num_extra_unlabeled=5))
