import io
import os
import select
import sys

from keras_mt.experiments.running.progress import ProgressBar, report


class Terminal(io.StringIO):
    def isatty(self):
        return True


def terminal(monkeypatch):
    # In the test itself: pytest puts its own stdout back after a fixture.
    monkeypatch.setattr(sys, "stdout", Terminal())
    return sys.stdout


def take_steps(first_step, last_step):
    bar = ProgressBar(first_step, last_step)
    for batch in range(last_step - first_step):
        bar.on_train_batch_end(batch, {"loss": 0.5})


def test_a_terminal_gets_a_bar_over_the_whole_run_with_the_loss(monkeypatch):
    stdout = terminal(monkeypatch)
    take_steps(100, 104)
    shown = stdout.getvalue()
    assert "compiling the first step took" in shown
    assert "101/104" in shown
    last = shown.strip().splitlines()[-1].rsplit("\r")[-1]
    assert "104/104" in last
    assert "loss 0.500" in last


def test_the_bar_shows_rate_time_left_costs_and_the_errors_of_the_last_evaluation(monkeypatch):
    stdout = terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", "160")
    bar = ProgressBar(0, 4)
    assert "compiling the first step ..." in stdout.getvalue()
    logs = {"loss": 0.5, "classification_cost": 0.4, "consistency_cost": 0.1}
    for batch in range(4):
        bar.on_train_batch_end(batch, logs)
        bar.on_epoch_end(batch, {**logs, "val_student_error": 0.25, "val_teacher_error": 0.125})
    last = stdout.getvalue().strip().splitlines()[-1].rsplit("\r")[-1]
    assert "steps/s" in last
    assert "left" in last
    assert "loss 0.500 (labels 0.400, consistency 0.100); student 25.00 %, teacher 12.50 %" in last


def test_a_terminal_that_does_not_say_how_many_rows_it_has_gets_the_bar_too(monkeypatch):
    """A pseudo-terminal has a size of 0×0 until somebody sets one."""
    here, there = os.openpty()
    with open(there, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        take_steps(0, 3)
        terminal.flush()
        shown = b""
        while (
            b"left" not in shown.rpartition(b"3/3")[2] and select.select([here], [], [], 5.0)[0]
        ):  # It comes in pieces.
            shown += os.read(here, 4096)
    os.close(here)
    assert b"3/3" in shown
    assert b"steps/s" in shown


def test_a_run_without_steps_to_do_compiles_nothing(capsys):
    take_steps(4, 4)
    assert capsys.readouterr().out == ""


def test_without_a_terminal_there_are_lines_only(capsys):
    take_steps(0, 4)
    report("decoding: 10 images\r")
    report("step 4/4")
    lines = capsys.readouterr().out.split("\n")
    assert lines[0].startswith("compiling the first step took")
    assert lines[1:] == ["step 4/4", ""]


def test_progress_on_a_terminal_is_overwritten_by_the_next_line(monkeypatch):
    stdout = terminal(monkeypatch)
    report("decoding: 10 images\r")
    report("decoded")
    first, second = stdout.getvalue().split("\r")[1:]
    assert first.startswith("decoding: 10 images")
    assert second.startswith("decoded")
    assert len(second.rstrip("\n")) >= len("decoding: 10 images")
