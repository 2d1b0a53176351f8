"""The README's code runs as it stands."""

import re

from support.programs import ROOT


def test_the_readmes_script_trains_a_plain_model(capsys):
    text = (ROOT / "README.md").read_text()
    script = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    scope = {}
    exec(compile(script, "README.md", "exec"), scope)
    results = scope["model"].evaluate(scope["x"][scope["test"]], scope["y"][scope["test"]], verbose=0, return_dict=True)
    assert results["teacher_error"] < 0.2
    assert "the teacher predicts" in capsys.readouterr().out
