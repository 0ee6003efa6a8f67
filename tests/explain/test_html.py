"""The HTML report: one file, well formed, and deaf to what names say."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from symbp.explain import html
from symbp.ir import Program
from symbp.ir.derivation import Derivation
from tests.derive.equations import Equations
from tests.explain.models import classifier, noted, recurrent

SUBJECTS = pytest.mark.parametrize("subject", [classifier(), recurrent()], ids=["classifier", "recurrent"])
HOSTILE = "<script>alert('x')</script>\"' onmouseover=alert(1) {{ 7*7 }}"


class Page(HTMLParser):
    """What elements a page has, with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))


def formulas_of(page: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(f) for f in re.findall(r"<math\b.*?</math>", page, re.S)]


@SUBJECTS
def test_formulas_are_well_formed(subject: Derivation) -> None:
    formulas = formulas_of(html(subject))
    assert len(formulas) > 20
    for formula in formulas:
        for element in formula.iter():
            expected = {"mfrac": 2, "msub": 2, "msup": 2, "munder": 2, "msubsup": 3, "munderover": 3}.get(element.tag)
            assert expected is None or len(element) == expected, ElementTree.tostring(element)


@SUBJECTS
def test_nothing_is_fetched(subject: Derivation) -> None:
    page = html(subject)
    assert not re.search(r"https?:|@import|url\(", page)
    for tag, attributes in Page(page).elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "form", "base")
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#")


def test_a_page_tells_what_the_text_tells() -> None:
    page = html(classifier())
    assert "<code>z2_bar[b, k] = (p[b, k] - [k == label[b]])/n_batch</code>" in page
    assert "<h3>W2, c2 (layer out)</h3>" in page
    assert page.count('class="t" data-tensor="z2_bar"') > 3
    assert [e.get("data-tensor") for e in formulas_of(page)[0].iter() if e.get("data-tensor")] == ["W1"]


def test_names_do_not_act() -> None:
    subject = noted(classifier(), {"z1": (HOSTILE, HOSTILE), "a1": (HOSTILE, HOSTILE)})
    program = replace(subject.program, name=HOSTILE)
    page = html(replace(subject, program=program), replace(empty_update(), name=HOSTILE))
    found = Page(page)
    assert [tag for tag, _ in found.elements].count("script") == 1  # our own
    assert not [a for _, attributes in found.elements for a in attributes if a.startswith("on")]
    assert "{{ 7*7 }}" in page  # written as it stands, not run as a template
    assert page.count("&lt;script&gt;alert") >= 4


def test_a_hostile_tensor_name_stays_text() -> None:
    """The front end refuses such a name; the report does not rely on that."""
    e = Equations()
    b = e.axis("b", 3)
    x = e.given(HOSTILE, b)
    e.let("y", (b,), x[b])
    page = html(e.program())
    assert [tag for tag, _ in Page(page).elements].count("script") == 1
    assert len(formulas_of(page)) > 2


def empty_update() -> Program:
    e = Equations("update")
    i = e.axis("i", 3)
    e.let("w_next", (i,), e.given("w", i)[i])
    return e.program()


def test_the_same_model_gives_the_same_page() -> None:
    assert html(classifier()) == html(classifier())
