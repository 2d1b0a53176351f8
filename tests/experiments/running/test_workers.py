"""A run on several machines: here several processes on one, each with a run directory of its own."""

import json
import shutil
import signal
import socket
import time

import pytest
import tensorflow as tf
from support.programs import (
    TINY,
    final_weights,
    finish_workers,
    free_ports,
    run_program,
    same_run,
    start_workers,
    succeed,
    tf_config,
)

from keras_mt.experiments.errors import RunError, UsageError
from keras_mt.experiments.running import cluster, workers

LONG = (*TINY, "--training_steps=120", "--evaluation_steps=40", "--checkpoint_steps=10", "--worker_timeout=60")


def finished_workers(count, folder, *flags):
    processes = start_workers(count, folder, *flags)
    succeed(processes)
    return folder / "worker-0"


@pytest.mark.slow
def test_two_workers_train_and_only_the_chief_writes(tmp_path):
    chief = finished_workers(2, tmp_path, *TINY)
    assert json.loads((chief / "results.json").read_text())["replicas"] == 2
    assert not (tmp_path / "worker-1").exists()


@pytest.mark.slow
def test_two_workers_continue_exactly(tmp_path):
    chief = finished_workers(2, tmp_path / "whole", *TINY)
    shutil.copytree(chief, tmp_path / "cut" / "worker-0")
    for name in ("results.json", "checkpoints/step-12"):  # As if they had been killed after step 8.
        (tmp_path / "cut" / "worker-0" / name).rename(tmp_path / name.replace("/", "-"))
    same_run(chief, finished_workers(2, tmp_path / "cut", *TINY))


@pytest.mark.slow
def test_three_workers_end_when_one_is_killed_and_continue_to_the_same_weights(tmp_path):
    flags = (*LONG, "--batch_size=21", "--labeled_per_batch=9")
    chief = finished_workers(3, tmp_path / "whole", *flags)
    for killed, number in ((2, signal.SIGKILL), (0, signal.SIGKILL), (1, signal.SIGTERM), (1, signal.SIGSTOP)):
        folder = tmp_path / f"{killed}-{number}"
        processes = start_workers(3, folder, *flags)
        until = time.monotonic() + 120
        while not (folder / "worker-0" / "checkpoints" / "step-50").exists():
            assert time.monotonic() < until
            time.sleep(0.1)
        processes[killed].send_signal(number)
        since = time.monotonic()
        others = [process for place, process in enumerate(processes) if place != killed]
        errors = finish_workers(others)
        print(f"worker {killed} got {number!r}: others ended after {time.monotonic() - since:.1f} s")
        assert time.monotonic() - since < 100  # --worker_timeout and some.
        processes[killed].kill()
        processes[killed].wait()
        told = number == signal.SIGTERM
        assert [process.returncode for process in others] == [143 if told else 1] * 2
        wanted = "is finished and saved" if told else "continues from the last checkpoint"
        assert all(wanted in text for text in errors)
        assert final_weights(folder / "worker-0")
        same_run(chief, finished_workers(3, folder, *flags))


@pytest.mark.slow
def test_workers_that_were_started_differently_say_so(tmp_path):
    processes = start_workers(2, tmp_path, *TINY, own=((), ("--seed=3",)))
    for text, seed in zip(finish_workers(processes), (0, 3), strict=True):
        assert f"the workers were started differently: here seed={seed}, and not so on all of them" in text
    assert [process.returncode for process in processes] == [1, 1]


def test_a_worker_that_does_not_answer_is_named_in_time(tmp_path):
    ports = free_ports(2)
    process = run_program(
        "train", *TINY, "--worker_timeout=2", f"--run_dir={tmp_path / 'run'}", TF_CONFIG=tf_config(ports, 0)
    )
    assert process.returncode == 1
    sentence = process.stderr.strip().splitlines()[-1]
    assert f"127.0.0.1:{ports[1]} of TF_CONFIG did not answer for --worker_timeout=2 seconds" in sentence
    assert not (tmp_path / "run").exists()


def test_a_strategy_of_several_workers_needs_them(tmp_path):
    process = run_program("train", *TINY, "--strategy=multi_worker", f"--run_dir={tmp_path / 'run'}")
    assert process.returncode == 2
    assert "--strategy=multi_worker needs the environment variable TF_CONFIG" in process.stderr


@pytest.mark.parametrize(
    ("config", "culprit"),
    [
        ("{", "its form is"),
        ("[]", "its form is"),
        ('{"cluster": {"worker": ["a:1"]}}', "its form is"),
        ('{"cluster": {"worker": 3}, "task": {"type": "worker", "index": 0}}', "its form is"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": ["worker"], "index": 0}}', "task.type is a list of 1"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1e999}}', "task.index is inf"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": true}}', "task.index is True"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": "0.5"}}', "task.index is '0.5'"),
        ('{"cluster": {"worker": [["a:1"]]}, "task": {"type": "worker", "index": 0}}', "cluster is a table of 1"),
        ('{"cluster": {"worker": "a:1"}, "task": {"type": "worker", "index": 0}}', "cluster is a table of 1"),
        ('{"cluster": {"worker": ["a:1"]}, "task": 3}', "task is 3"),
        (f'{{"cluster": {{"worker": ["a:{"9" * 5000}"]}}, "task": {{"type": "worker", "index": 0}}}}', "is no address"),
        ("[" * 100_000, "nested too deeply"),
        ('{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "worker", "index": 0}}', "names tasks ps"),
        ('{"cluster": {"chief": ["a:1", "b:1"]}, "task": {"type": "chief", "index": 0}}', "names 2 chiefs"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}', "task worker 2 is not"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "chief", "index": 0}}', "task chief 0 is not"),
        ('{"cluster": {"worker": ["a:1", "a:1"]}, "task": {"type": "worker", "index": 0}}', "names a:1 2 times"),
        ('{"cluster": {"worker": ["a:1", "b"]}, "task": {"type": "worker", "index": 0}}', "'b' is no address"),
        ('{"cluster": {"worker": ["a:1", "b:70000"]}, "task": {"type": "worker", "index": 0}}', "'b:70000' is no"),
    ],
)
def test_a_cluster_that_contradicts_itself_is_a_wrong_usage(monkeypatch, config, culprit):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(UsageError, match="TF_CONFIG") as raised:
        cluster.read()
    assert culprit in str(raised.value)


def test_the_chief_comes_first(monkeypatch):
    config = {"cluster": {"worker": ["a:1", "b:1"], "chief": ["c:1"]}, "task": {"type": "worker", "index": 1}}
    for index in (1, "1"):  # Job descriptions fill in texts.
        config["task"]["index"] = index
        monkeypatch.setenv("TF_CONFIG", json.dumps(config))
        assert cluster.read() == cluster.Cluster(("c:1", "a:1", "b:1"), 2)
        assert not cluster.read().is_chief


def test_what_workers_ask_of_each_other_in_each_step_is_traced_once():
    asked = workers.Workers(cluster.Cluster(("a:1", "b:1"), 0), timeout=10.0)  # Without a strategy each is alone.
    before = workers._gathered.experimental_get_tracing_count()
    assert [asked.all_gather([step]) for step in range(3)] == [[[0]], [[1]], [[2]]]
    assert workers._gathered.experimental_get_tracing_count() <= before + 1


def test_what_is_broadcast_keeps_its_bits():
    variables = [tf.Variable([-0.0, 1e-40, float("nan")]), tf.Variable([7], dtype="int64")]
    bits = [variable.numpy().tobytes() for variable in variables]
    workers.Workers(cluster.Cluster(("a:1", "b:1"), 0), timeout=10.0).broadcast(variables)
    assert [variable.numpy().tobytes() for variable in variables] == bits


def test_a_port_that_is_taken_is_named():
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(RunError, match=f"of this worker's {address} can't be used"):
            cluster.Cluster((address, "127.0.0.1:1")).wait_for_all(1.0)
