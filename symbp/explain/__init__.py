"""Equations for people: plain text, LaTeX and a self-contained HTML report, all from the same outline."""

from symbp.explain.html_report import html
from symbp.explain.latex_report import latex
from symbp.explain.records import records
from symbp.explain.text_report import text

__all__ = ["html", "latex", "records", "text"]
