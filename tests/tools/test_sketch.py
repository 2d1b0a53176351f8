import sys

from support.programs import ROOT


def test_the_sketch_trains_all_methods_and_draws_them(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import sketch

    monkeypatch.setattr(sketch, "STEPS", 5)  # Enough to draw; no figure of it means anything.
    monkeypatch.setattr(sys, "argv", ["sketch", "--out", str(tmp_path / "sketch.png")])
    sketch.main()
    assert (tmp_path / "sketch.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    for title in sketch.TITLES.values():
        assert title in printed
