import io
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
    assert "first step done after" in shown
    assert "101/104" in shown
    last = shown.strip().splitlines()[-1].rsplit("\r")[-1]
    assert "104/104" in last
    assert "loss 0.500" in last


def test_without_a_terminal_there_are_lines_only(capsys):
    take_steps(0, 4)
    report("decoding: 10 images\r")
    report("step 4/4")
    lines = capsys.readouterr().out.split("\n")
    assert lines[0].startswith("first step done after")
    assert lines[1:] == ["step 4/4", ""]


def test_progress_on_a_terminal_is_overwritten_by_the_next_line(monkeypatch):
    stdout = terminal(monkeypatch)
    report("decoding: 10 images\r")
    report("decoded")
    first, second = stdout.getvalue().split("\r")[1:]
    assert first.startswith("decoding: 10 images")
    assert second.startswith("decoded")
    assert len(second.rstrip("\n")) >= len("decoding: 10 images")
