"""Derivatives: the reverse rule, forward mode, second order, and the passes that prepare and tidy the equations."""

from symbp.derive.name_calls import name_calls
from symbp.derive.requests import expand_derivatives
from symbp.derive.rule import differentiate
from symbp.derive.second_order import hessian, hessian_vector_product
from symbp.derive.simplify import simplify, simplify_primal
from symbp.derive.stabilise import stabilise
from symbp.derive.tangent import Delta, Direction, tangent

__all__ = [
    "Delta",
    "Direction",
    "differentiate",
    "expand_derivatives",
    "hessian",
    "hessian_vector_product",
    "name_calls",
    "simplify",
    "simplify_primal",
    "stabilise",
    "tangent",
]
