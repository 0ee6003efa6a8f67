"""Text, letter by letter: an LSTM learns to continue what it reads.

python examples/char_lstm.py

The text ships with Python: the language's own reference, as `help("keywords")` and its like print it. At every step
the model sees one character and gives a probability for each that may come next; the loss is how surprised it is, in
nats per character (log 2 of them are one bit). It starts out knowing nothing, log(number of characters).

This example prints the loss on text that it has not read, and some text of its own, after every round of training:
less than a minute in all, of which the first run spends a third on compiling.
"""

from __future__ import annotations

import math
import time
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from symbp import LSTM, Adam, Dense, Embedding, Model, softmax, softmax_cross_entropy
from symbp.pipeline import compile_model, load_generated

Tokens = npt.NDArray[np.int64]
CHARACTERS = "\n !\"#'()*+,-./0123456789:;<=>?@[]_`abcdefghijklmnopqrstuvwxyz{}~"
STEPS = 64  # characters that the model reads in one go
START = "the value of "


def model(units: int = 128) -> Model:
    """``p[b, t, v]``: the probability that character v follows ``token[b, 0] .. token[b, t]``."""
    text = Model("char_lstm")
    b, t = text.axis("b", "batch"), text.axis("t", "time")
    v = text.axis("v", len(CHARACTERS))
    token, following = (text.input(name, b, t, dtype="int", below=v) for name in ("token", "following"))
    embedded = Embedding(len(CHARACTERS), 24, name="embedding")(token)
    h = LSTM(units, sequences=True, name="lstm")(embedded)
    logits = Dense(len(CHARACTERS), name="head")(h)
    text.output(softmax(logits, name="p"))
    text.loss(softmax_cross_entropy(logits, following))
    text.optimizer(Adam(learning_rate=0.004))
    return text


def reference_text() -> str:
    """What Python tells about itself, in lower case, with characters outside `CHARACTERS` left out."""
    from pydoc_data.topics import topics

    whole = "\n".join(text for _, text in sorted(topics.items())).lower()
    lines = (line.strip() for line in whole.splitlines())
    kept = "\n".join(line for line in lines if line and not set(line) <= set("*=-+|~^ "))
    return "".join(c for c in kept if c in CHARACTERS)


def encode(text: str) -> Tokens:
    return np.array([CHARACTERS.index(c) for c in text], np.int64)


def windows(tokens: Tokens) -> tuple[Tokens, Tokens]:
    """The text cut into pieces of `STEPS` characters, and the same pieces one character later."""
    count = (len(tokens) - 1) // STEPS
    return tokens[: count * STEPS].reshape(count, STEPS), tokens[1 : count * STEPS + 1].reshape(count, STEPS)


def generate(net: ModuleType, params: Any, length: int, seed: int = 0, boldness: float = 0.6) -> str:
    """Let the model continue `START`, one drawn character after the other; the bolder, the more surprising."""
    source = np.random.default_rng(seed)
    tokens = list(encode(START))
    for _ in range(length):
        p = net.predict(params, np.array([tokens[-STEPS:]]))[0, -1].astype(np.float64) ** (1 / boldness)
        tokens.append(int(source.choice(len(p), p=p / p.sum())))
    return "".join(CHARACTERS[k] for k in tokens)


def main(
    folder: str = ".demo", units: int = 128, rounds: int = 8, pieces: int = 3072, sample: int = 240
) -> list[float]:
    """Train for some rounds of so many pieces of text each; return the loss on text held out, before and after each."""
    began = time.perf_counter()
    net = load_generated(compile_model(model(units), folder))
    token, following = windows(encode(reference_text()))
    held_out = np.arange(len(token)) % 40 == 0
    test = token[held_out], following[held_out]
    token, following = token[~held_out], following[~held_out]

    params = net.init(seed=0)
    state = net.optimizer_state(params)
    losses = [net.loss(params, *test)]
    print(f"{net.PARAMETERS.size:,} weights, {token.size:,} characters to learn from")
    print(
        f"knowing nothing: {losses[0]:.3f} nats per character, log({len(CHARACTERS)}) = {math.log(len(CHARACTERS)):.3f}"
    )
    source = np.random.default_rng(1)
    for turn in range(rounds):
        chosen = source.choice(len(token), min(pieces, len(token)), replace=False)
        net.fit(params, state, token[chosen], following[chosen], batch=64, seed=turn, progress=False)
        losses.append(net.loss(params, *test))
        spent, read = time.perf_counter() - began, (turn + 1) * chosen.size * STEPS
        print(f"\n--- {spent:.0f} s, {read:,} characters read: {losses[-1]:.3f} nats per character")
        print(generate(net, params, sample, seed=turn))
    return losses


if __name__ == "__main__":
    main()
