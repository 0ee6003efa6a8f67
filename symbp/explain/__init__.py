"""Equations for people: plain text, LaTeX and a self-contained HTML report, all from the same outline; schedules."""

from symbp.explain.html_report import html
from symbp.explain.latex_report import latex
from symbp.explain.records import records
from symbp.explain.schedule import schedule_records, schedule_text
from symbp.explain.text_report import text

__all__ = ["html", "latex", "records", "schedule_records", "schedule_text", "text"]
