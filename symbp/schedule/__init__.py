"""Scheduling: from equations to loops, products and buffers."""

from symbp.schedule.build import make_plan

__all__ = ["make_plan"]
