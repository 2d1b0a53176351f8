import sys
from xml.etree import ElementTree

from support.programs import ROOT


def test_the_pictures_of_the_method_are_what_the_tool_draws(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import method_picture

    for name, colors in method_picture.FILES.items():
        drawn = method_picture.draw(colors)
        assert ElementTree.fromstring(drawn).tag == "{http://www.w3.org/2000/svg}svg"
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == drawn


def test_the_tool_writes_both_pictures(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import method_picture

    monkeypatch.setattr(sys, "argv", ["method_picture", "--folder", str(tmp_path)])
    method_picture.main()
    assert {path.name for path in tmp_path.iterdir()} == set(method_picture.FILES)
