"""Layers: functions that write equations. One small file each."""

from symbp.frontend.layers.dense import Dense
from symbp.frontend.layers.layer import Layer, Scope

#: Every layer by the name that spec files use.
LAYERS: dict[str, type[Layer]] = {layer.__name__: layer for layer in (Dense,)}

__all__ = ["LAYERS", "Dense", "Layer", "Scope"]
