"""stub"""

from __future__ import annotations

from typing import Any

from symbp.ir.plan import Plan


def cuda_context(plan: Plan, dtype: str) -> dict[str, Any]:
    return {}
