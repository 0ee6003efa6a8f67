"""Layers: functions that write equations. One small file each."""

from symbp.frontend.layers.add import Add
from symbp.frontend.layers.attention import SelfAttention
from symbp.frontend.layers.conv import Conv1d, Conv2d
from symbp.frontend.layers.dense import Dense
from symbp.frontend.layers.embedding import Embedding
from symbp.frontend.layers.layer import Layer, Scope
from symbp.frontend.layers.norm import LayerNorm, RMSNorm
from symbp.frontend.layers.pool import AvgPool2d, Flatten, MaxPool2d
from symbp.frontend.layers.recurrent import GRU, LSTM, RNN

#: Every layer by the name that spec files use.
LAYERS: dict[str, type[Layer]] = {
    layer.__name__: layer
    for layer in (
        Dense, Embedding, LayerNorm, RMSNorm, Conv1d, Conv2d, MaxPool2d, AvgPool2d, Flatten, RNN, GRU, LSTM,
        SelfAttention, Add,
    )
}  # fmt: skip

__all__ = [
    "GRU",
    "LAYERS",
    "LSTM",
    "RNN",
    "Add",
    "AvgPool2d",
    "Conv1d",
    "Conv2d",
    "Dense",
    "Embedding",
    "Flatten",
    "Layer",
    "LayerNorm",
    "MaxPool2d",
    "RMSNorm",
    "Scope",
    "SelfAttention",
]
