"""Scheduling: from equations to loops, products and buffers."""

from symbp.schedule.account import account
from symbp.schedule.build import make_plan

__all__ = ["account", "make_plan"]
