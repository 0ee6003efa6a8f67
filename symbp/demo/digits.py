"""Handwritten digits of 8 x 8 pixels: 64 inputs, 32 hidden units, 10 classes.

symbp derive digits.py                           the equations and all derivatives
symbp compile digits.py -o .                     the package ./digits
symbp train digits.py --data sklearn:digits      train it on scikit-learn's 1,797 digits
"""

from __future__ import annotations

from symbp import Adam, Model, log, mean, relu, softmax, sum

model = Model("digits")

b = model.axis("b", "batch")  # found at run time
j = model.axis("j", 64)  # pixels
h = model.axis("h", 32)  # hidden units
k = model.axis("k", 10)  # classes

x = model.input("x", b, j)
label = model.input("label", b, dtype="int", below=k)

W1, c1 = model.parameter("W1", j, h), model.parameter("c1", h)
W2, c2 = model.parameter("W2", h, k), model.parameter("c2", k)

z1 = model.define("z1[b, h]", sum(x[b, j] * W1[j, h], j) + c1[h])
a1 = model.define("a1[b, h]", relu(z1[b, h]))
z2 = model.define("z2[b, k]", sum(a1[b, h] * W2[h, k], h) + c2[k])
p = model.define("p[b, k]", softmax(z2[b, k], k))

model.output(p)
model.loss(mean(-log(p[b, label[b]]), b))
model.optimizer(Adam(learning_rate=0.003))
