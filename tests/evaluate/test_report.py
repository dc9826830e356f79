import re
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure

from galzoo.errors import InputError
from galzoo.evaluate.report import Report, format_value, markdown_table, rich_table

ROWS = [{"method": "a<b>", "error": (0.1234, 0.021)}, {"method": "b", "error": (None, None), "n": 3}]
VOID = {"meta", "img", "br"}


class Balance(HTMLParser):
    """Checks that every tag is closed and collects addresses."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses = [], []

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for key, value in attrs if key in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def picture():
    figure = Figure(figsize=(1, 1))
    figure.subplots().plot([0, 1])
    return figure


def test_report_is_one_file_without_links(tmp_path, picture):
    path = Report("T", "s").section("S").text("a\n\nb").table(ROWS, "c").figure(picture, "f").write(tmp_path / "r.html")
    page = path.read_text(encoding="utf-8")
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    assert [address[:22] for address in parser.addresses] == ["data:image/png;base64,"]
    assert not re.search(r"https?:|<script|@import|url\(", page)
    assert page.count("<p>") == 2
    assert "prefers-color-scheme: dark" in page


def test_text_is_escaped():
    hostile = '<img src=x onerror="alert(1)">&'
    page = Report(hostile, hostile).section(hostile).text(hostile).table([{hostile: hostile}], hostile).html()
    assert "<img" not in page
    assert page.count("&lt;img src=x onerror=&quot;alert(1)&quot;&gt;&amp;") == 8


def test_only_png_files_are_embedded(tmp_path, picture):
    picture.savefig(tmp_path / "a.png")
    assert "base64," in Report("T").figure(tmp_path / "a.png").html()
    (tmp_path / "b.png").write_text("no picture")
    for name in ("b.png", "absent.png"):
        with pytest.raises(InputError, match=name):
            Report("T").figure(tmp_path / name)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((0.1234, 0.021), "0.123 ± 0.021"),
        ((-12.34, 1.5), "−12.3 ± 1.5"),
        ((1234.0, 56.0), "1234 ± 56"),
        ((1.0, None), "1"),
        ((1.0, 0.0), "1"),
        ((12347.0, 678.0), "12350 ± 680"),
        ((1e8, 2e7), "1.00e+08 ± 2.0e+07"),
        (1234.0, "1234"),
        (12345.0, "1.23e+04"),
        ((None, None), "–"),
        ((1.5e-9, 2.0e-10), "1.50e−09 ± 2.0e−10"),
        (float("nan"), "–"),
        (-0.5, "−0.5"),
        (12, "12"),
        (None, ""),
        ("x", "x"),
    ],
)
def test_cells(value, text):
    assert format_value(value) == text


def test_tables_hold_all_columns():
    text = markdown_table([*ROWS, {"method": "p|q"}])
    assert text.splitlines()[0] == "| method | error | n |"
    assert "p\\|q" in text
    table = rich_table(ROWS, "t")
    assert [column.header for column in table.columns] == ["method", "error", "n"]
    assert table.row_count == 2
