"""TOML specs: the same model as through the Python door, and what the format accepts."""

from __future__ import annotations

from pathlib import Path

import pytest

import symbp as sb
from symbp.errors import FileError, SpecError
from symbp.frontend.spec_file import load_model, load_spec
from symbp.ir import Initializer, program_text

DIGITS = """
[model]
name = "digits"
outputs = "p"
equations = '''
h[b, i] = relu(sum(x[b, j]*W[j, i], j) + c[i])
z[b, k] = sum(h[b, i]*V[i, k], i) + d[k]
p[b, k] = softmax(z[b, k], k)
'''

[axes]
b = "batch"
j = 64
i = 32
k = 10

[inputs]
x = "b, j"
label = { axes = "b", dtype = "int", below = "k" }

[parameters]
W = "j, i"
c = ["i"]
V = { axes = "i, k", init = "he_normal" }
d = { axes = "k", init = 0.5 }

[loss]
type = "softmax_cross_entropy"
logits = "z"
label = "label"

[optimizer]
type = "Adam"
learning_rate = 3e-3
"""

LAYERS = """
outputs = ["p"]
loss = "mean(-log(p[b, label[b]]), b)"
equations = ["p[b, k] = softmax(scores[b, k], k)"]

[axes]
b = "batch"
j = 7
k = 3

[inputs]
x = "b, j"
label = { axes = "b", dtype = "int", below = 3 }

[[layers]]
type = "Dense"
input = "hidden"
output = "scores"
name = "head"
units = 3

[[layers]]
type = "Dense"
input = "x"
output = "hidden"
units = 13
activation = "tanh"
bias = false

[optimizer]
type = "Momentum"
nesterov = true
"""

RECURRENT = """
[axes]
b = "batch"
t = "time"
j = 3
k = 5
l = "k"

[inputs]
x = "b, t, j"
target = "b"

[parameters]
U = "j, k"
R = { axes = "l, k", init = "orthogonal" }
v = { axes = "k", init = { kind = "normal", std = 0.1 } }

[model]
name = "recurrent"
loss = "L"
equations = '''
h[b, 0, k] = 0                                       # the start
h[b, t + 1, k] = tanh(sum(x[b, t, j]*U[j, k], j)
                      + sum(h[b, t, l]*R[l, k], l))
y[b] = sum(h[b, time, k]*v[k], k) where v[k] > 0.5
L = mean((y[b] - target[b])**2, b)
'''
"""


def python_digits() -> sb.Model:
    model = sb.Model("digits")
    b, j, i, k = model.axis("b", "batch"), model.axis("j", 64), model.axis("i", 32), model.axis("k", 10)
    x, label = model.input("x", b, j), model.input("label", b, dtype="int", below=k)
    W, c = model.parameter("W", j, i), model.parameter("c", i)
    V, d = model.parameter("V", i, k, init="he_normal"), model.parameter("d", k, init=0.5)
    h = model.define("h[b, i]", sb.relu(sb.sum(x[b, j] * W[j, i], j) + c[i]))
    z = model.define("z[b, k]", sb.sum(h[b, i] * V[i, k], i) + d[k])
    p = model.define("p[b, k]", sb.softmax(z[b, k], k))
    model.loss(sb.softmax_cross_entropy(z, label))
    model.optimizer(sb.Adam(learning_rate=3e-3))
    model.output(p)
    return model


def python_layers() -> sb.Model:
    model = sb.Model("layers")
    b, j, k = model.axis("b", "batch"), model.axis("j", 7), model.axis("k", 3)
    x, label = model.input("x", b, j), model.input("label", b, dtype="int", below=3)
    hidden = sb.Dense(13, sb.tanh, bias=False, name="hidden")(x)
    scores = sb.Dense(3, name="head")(hidden)
    p = model.define("p[b, k]", sb.softmax(scores[b, k], k))
    model.loss(sb.mean(-sb.log(p[b, label[b]]), b))
    model.optimizer(sb.Momentum(nesterov=True))
    model.output(p)
    return model


def python_recurrent() -> sb.Model:
    model = sb.Model("recurrent")
    b, t, j, k = model.axis("b", "batch"), model.axis("t", "time"), model.axis("j", 3), model.axis("k", 5)
    l = model.axis("l", k)  # noqa: E741
    x, target = model.input("x", b, t, j), model.input("target", b)
    U, R = model.parameter("U", j, k), model.parameter("R", l, k, init="orthogonal")
    v = model.parameter("v", k, init=Initializer("normal", (("std", 0.1),)))
    h = model.variable("h", b, t, k)
    model.define(h[b, 0, k], 0)
    model.define(h[b, t + 1, k], sb.tanh(sb.sum(x[b, t, j] * U[j, k], j) + sb.sum(h[b, t, l] * R[l, k], l)))
    y = model.define("y[b]", sb.sum(h[b, t.size, k] * v[k], k, where=v[k] > 0.5))
    model.loss(model.define("L", sb.mean((y[b] - target[b]) ** 2, b)))
    return model


def spec(folder: Path, text: str, name: str = "layers.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(SpecError) as caught:
        load_spec(spec(folder, text, "spec.toml"))
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "model"),
    [
        pytest.param(DIGITS, python_digits, id="digits"),
        pytest.param(LAYERS, python_layers, id="layers"),
        pytest.param(
            RECURRENT.replace("*v[k], k) where v[k] > 0.5", "*v[k], k, where=v[k] > 0.5)"), python_recurrent, id="rnn"
        ),
    ],
)
def test_both_doors_give_the_same_program(tmp_path: Path, text: str, model: object) -> None:
    loaded = load_model(spec(tmp_path, text))
    expected = model()  # type: ignore[operator]
    assert program_text(loaded.program()) == program_text(expected.program())
    assert loaded.program().tensors == expected.program().tensors
    if expected.update():
        assert program_text(loaded.update()) == program_text(expected.update())
    else:
        assert loaded.update() is None


def test_statements_know_their_line(tmp_path: Path) -> None:
    program = load_spec(spec(tmp_path, DIGITS, "spec.toml")).program()
    assert {s.tensor: s.origin.place for s in program.statements}["z"] == "spec.toml:7:1"


def test_the_order_of_equations_is_free(tmp_path: Path) -> None:
    shuffled = DIGITS.replace("p[b, k] = softmax(z[b, k], k)\n", "").replace(
        "h[b, i] =", "p[b, k] = softmax(z[b, k], k)\nh[b, i] ="
    )
    one, other = (load_spec(spec(tmp_path, text)).program() for text in (DIGITS, shuffled))
    assert sorted(map(str, program_text(one).splitlines())) == sorted(map(str, program_text(other).splitlines()))


def test_a_loss_may_be_an_equation_of_its_own(tmp_path: Path) -> None:
    text = LAYERS.replace('loss = "mean(', 'loss = "L = mean(')
    program = load_spec(spec(tmp_path, text)).program()
    assert program.loss == "L"
    table = LAYERS.replace('loss = "mean(-log(p[b, label[b]]), b)"\n', "") + (
        '[loss]\nequation = "mean(-log(p[b, label[b]]), b)"\n'
    )
    assert load_spec(spec(tmp_path, table)).program().loss == "loss"


def test_extents_are_numbers_sizes_axes_or_formulas(tmp_path: Path) -> None:
    model = load_spec(
        spec(
            tmp_path,
            "outputs = ['y', 'v']\nequations = '''\ny[p] = sum(x[2*p + u]*w[u], u)\nv[n] = x[n]*1\n'''\n"
            '[axes]\np = "(i - u)//2 + 1"\ni = 13\nu = 5\nn = "i"\nm = "n_rows"\nq = "2*m + i"\n'
            '[inputs]\nx = "i"\n[parameters]\nw = "u"\n',
        )
    )
    assert [str(model.axes[name].size) for name in "piunmq"] == ["5", "13", "5", "13", "n_n_rows", "2*n_n_rows + 13"]
    assert str(model.program().tensor("y").shape[0]) == "5"


def test_the_model_is_named_after_the_file(tmp_path: Path) -> None:
    assert load_spec(spec(tmp_path, LAYERS, "my-net.toml")).name == "my_net"


def marked(text: str, old: str, new: str) -> tuple[str, str]:
    """The text with `old` replaced by `new`, and the line and column of the mark § in it."""
    assert text.count(old) == 1
    changed = text.replace(old, new)
    before, _, after = changed.partition("§")
    return before + after, f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "[parameters]",
            "§[parameter]",
            "the spec has the unknown table or key 'parameter'; did you mean 'parameters'?",
        ),
        ('name = "digits"', '§nam = "digits"', "[model] has the unknown key 'nam'; did you mean 'name'?"),
        ('name = "digits"', "name = §3", "'name' of [model] is text, found 3"),
        ('W = "j, i"', 'W = "j, §q"', "[parameters]: 'q' is not an axis; known: b, i, j, k"),
        ('c = ["i"]', 'c = ["i", "§jj"]', "[parameters]: 'jj' is not an axis; did you mean 'j'?"),
        ('c = ["i"]', "c = §3", "'c' of [parameters] is text or a list, found 3"),
        ('init = "he_normal"', '§ini = "he_normal"', "parameter 'V' has the unknown key 'ini'; did you mean 'init'?"),
        ('"he_normal"', '"§he_norma"', "parameter 'V' has the unknown initializer 'he_norma'; did you mean"),
        ('"he_normal"', '{ kind = "normal", §sd = 1 }', "init of parameter 'V' has the unknown number 'sd'; did you"),
        ('"he_normal"', '§{ kind = "normal" }', "initializer 'normal' of parameter 'V' takes std, found none"),
        ('"he_normal"', "§nan", "initializer 'constant' of parameter 'V': value = nan is not finite"),
        (
            'label = { axes = "b", dtype = "int"',
            'label = §{ axes = "b", dtype = "integer"',
            "input 'label' has dtype 'in",
        ),
        ("j = 64", "j = §1.5", "'j' of [axes] is a whole number or text, found 1.5"),
        ("j = 64", "j = §0", "axis 'j' has extent 0, expected at least 1"),
        ("j = 64", 'j = "i"\nn = "§m"\nm = "n"', "the extents of n, m refer to each other"),
        ("j = 64", 'j = "k + §zz"', "unknown name 'zz'"),
        ('x = "b, j"', 'batch = "§b, j"', "'batch' is the name of a run-time size; rename the tensor or the size"),
        ('outputs = "p"', 'outputs = "§q"', "unknown tensor 'q'; known: V, W, c, d, h, label, loss, p, x, z"),
        ('outputs = "p"', "outputs = §3", "'outputs' of [model] is text or a list, found 3"),
        ('logits = "z"', 'logits = "§zz"', "unknown tensor 'zz'; did you mean 'z'?"),
        ('logits = "z"', '§logit = "z"', "[loss] has the unknown argument of softmax_cross_entropy 'logit'; did you"),
        ('type = "softmax', 'type = "§sofmax', "unknown loss 'sofmax_cross_entropy'; did you mean 'softmax_cross"),
        ('type = "softmax_cross_entropy"\n', "", "[loss] lacks 'type'; add type = .."),
        ("d[k]\n", "d[§kk]\n", "unknown index 'kk'; did you mean 'k'?"),
        ("z[b, k] =", "§z[b, k] = x[b, j] +", "index j is free on the right side of z[b, k] but not on its left side"),
        ("d[k]\n", "§d[k, b]\n", "tensor 'd' has 1 axis (k) but is read with 2: d[k, b]; drop 1 subscript"),
        ("z[b, k] =", "z[b, §w] =", "unknown index 'w'; known: b, batch, i, j, k"),
        ("[axes]", "[axes]\nequations = '''\n§z = 1\n'''", "'equations' stands in [axes]; move it above the first"),
        ('"Adam"', '"Adam"\n§outputs = []', "[optimizer] has the unknown option of Adam 'outputs'; move it above"),
        ("[model]", "equations = 'z = 1'\n[model]", "'equations' stands both at the top of the file and in [model]"),
        ('type = "Adam"', 'type = "§Adm"', "unknown optimizer 'Adm'; did you mean 'Adam'?"),
        ("learning_rate = 3e-3", "learning_rate = §-1", "Adam has learning_rate = -1, expected a number above 0"),
        ("learning_rate = 3e-3", "learning_rate = §nan", "Adam has learning_rate = nan, expected a finite number"),
        ("learning_rate = 3e-3", 'learning_rate = "§x"', "'learning_rate' of [optimizer] is a number, found the text"),
        ("learning_rate = 3e-3", "§beta1 = 1", "[optimizer] has the unknown option of Adam 'beta1'; did you mean"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    text, place = marked(DIGITS, old, new)
    found = refusal(tmp_path, text)
    if "§" in new:
        assert found.startswith(f"spec.toml:{place}: {message}")
    else:
        assert message in found
    assert "\n" not in found


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('input = "x"', 'input = "§xx"', "unknown tensor 'xx'; did you mean 'x'?"),
        ('input = "x"', 'input = §["x", "x"]', "Dense takes 1 input, found 2"),
        ('input = "x"', "input = §3", "'input' of [[layers]] 2 is text or a list, found 3"),
        ('input = "x"\n', "", "[[layers]] 2 lacks 'input'; add input = .."),
        ("units = 13\n", "", "Dense lacks 'units'; add units = .."),
        ("units = 13", "§unit = 13", "[[layers]] 2 has the unknown option of Dense 'unit'; did you mean 'units'?"),
        ("units = 13", "units = §-1", "Dense has units = -1, expected an integer of at least 1"),
        ("units = 13", 'units = "§13"', "'units' of [[layers]] 2 is a whole number, found the text '13'"),
        ("units = 13", "units = §true", "'units' of [[layers]] 2 is a whole number, found true"),
        ('activation = "tanh"', 'activation = "§tahn"', "unknown function 'tahn'; did you mean 'tanh'?"),
        ('type = "Dense"\ninput = "x"', 'type = "§Dens"\ninput = "x"', "unknown layer 'Dens'; did you mean 'Dense'?"),
        ('output = "hidden"', 'output = "§scores"', "two layers give 'scores'; choose two names"),
        ('output = "hidden"', 'output = "§x"', "the name 'x' is taken; choose another output"),
        ('input = "hidden"', 'input = "§p"', "layers and equations wait for each other: scores; a loop in time is"),
        ("bias = false", "bias = §0", "'bias' of [[layers]] 2 is true or false, found 0"),
        ('scores[b, k], k)"', 'scores[b, k], k)", "§x[b, j] = 1"', "'x' is an input and cannot be defined by an equ"),
        ('scores[b, k], k)"', 'scores[b, k], k)", §3', "'equations' of the spec is text, found 3"),
        ('"p[b, k] =', '"§hidden[b, k] =', "'hidden' is a layer's output and cannot be defined by an equation"),
        ('"p[b, k] =', '"p[b, k] = §hidden[b] +', "tensor 'hidden' has 2 axes (b, hidden_k) but is read with 1"),
    ],
)
def test_a_mistake_in_a_layer_is_told_with_its_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    text, place = marked(LAYERS, old, new)
    found = refusal(tmp_path, text)
    if "§" in new:
        assert found.startswith(f"spec.toml:{place}: {message}")
    else:
        assert message in found


@pytest.mark.parametrize(
    ("shape", "options", "layer"),
    [
        ("b, j", "type = 'softmax'", sb.softmax),
        ("b, t, j", "type = 'gelu'", sb.gelu),
        ("w", "type = 'Embedding'\nwords = 9\nunits = 4\ninit = { kind = 'normal', std = 0.02 }", None),
        ("b, j", "type = 'LayerNorm'\nepsilon = 1e-6", sb.LayerNorm(epsilon=1e-6, name="y")),
        ("b, c, j", "type = 'Conv1d'\nchannels = 2\nkernel = 3\nactivation = 'relu'", None),
        ("b, c, i, j", "type = 'Conv2d'\nchannels = 2\nkernel = [3, 5]\npadding = 1", None),
        ("b, c, i, j", "type = 'MaxPool2d'\nsize = 2", sb.MaxPool2d(2, name="y")),
        ("b, c, i, j", "type = 'Flatten'", sb.Flatten(name="y")),
        ("b, t, j", "type = 'LSTM'\nunits = 3\nsequences = true", sb.LSTM(3, sequences=True, name="y")),
        ("b, t, j", "type = 'SelfAttention'\nheads = 1\ncausal = true", None),
    ],
)
def test_every_kind_of_layer_can_be_written(tmp_path: Path, shape: str, options: str, layer: object) -> None:
    integers = ", dtype = 'int', below = 9" if shape == "w" else ""
    axes = "[axes]\nb = 'batch'\nt = 'time'\nc = 3\ni = 8\nj = 7\nw = 5\n"
    given = f"[inputs]\nx = {{ axes = '{shape}'{integers} }}\n"
    text = f"outputs = 'y'\n{axes}{given}[[layers]]\ninput = 'x'\noutput = 'y'\n{options}\n"
    program = load_spec(spec(tmp_path, text)).program()
    assert program.outputs in [("y",), ("y_output",)]  # a state is stored from before the first step, so it is copied
    if layer is not None:
        model = sb.Model("layers")
        sizes = {"b": "batch", "t": "time", "c": 3, "i": 8, "j": 7, "w": 5}
        axes_of = {name: model.axis(name, size) for name, size in sizes.items()}
        x = model.input("x", *(axes_of[name] for name in shape.split(", ")))
        model.output(layer(x, name="y") if isinstance(layer, type(sb.relu)) else layer(x))  # type: ignore[operator]
        assert program_text(model.program()) == program_text(program)


def test_one_table_of_layers_is_not_a_list(tmp_path: Path) -> None:
    text = LAYERS[: LAYERS.rindex("[[layers]]")].replace("[[layers]]", "[layers]")
    assert "[layers] is one table, expected a list of them; write [[layers]]" in refusal(tmp_path, text)


def test_layers_and_equations_that_wait_for_each_other_are_refused(tmp_path: Path) -> None:
    text = LAYERS.replace('input = "x"', 'input = "p"')
    assert "layers and equations wait for each other: scores, hidden; a loop in time" in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "spec.toml: the spec has no equations and no layers; add equations = .."),
        ("a = = 1", "spec.toml:1:5: not TOML: Invalid value"),
        ("[axes", "spec.toml:1: not TOML: Expected ']' at the end of a table declaration"),
        ("[axes]\nb = 1\nb = 2\n", "spec.toml:3:6: a key stands twice in one table; keep one of them"),
        ("a = " + "9" * 5000, "spec.toml: not TOML: Exceeds the limit (4300 digits) for integer string conversio.."),
        ("a = " + "[" * 9000 + "]" * 9000, "spec.toml: tables or lists are nested too deeply"),
        ("#" * 600_000, "spec.toml: a spec file has at most 524,288 bytes, found 600,000"),
    ],
)
def test_what_is_not_a_spec_is_refused(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path, text) == message


def test_bytes_that_are_not_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_bytes(b"[axes]\nb = '\xff'\n")
    with pytest.raises(SpecError, match=r"^spec\.toml:2: the file is not UTF-8 text$"):
        load_spec(path)
    path.write_bytes(b"\xef\xbb\xbf" + LAYERS.replace("\n", "\r\n").encode())
    assert load_spec(path).program().loss == "loss"


def test_files_that_are_not_there_or_of_another_kind_are_refused(tmp_path: Path) -> None:
    for name, message in (
        ("none.toml", "there is no file"),
        ("none.py", "there is no file"),
        ("none.py:model", "there is no file"),
        ("none.onnx", "is neither a .py nor a .toml file; a model is a .py or a .toml file"),
        (".", "is a folder"),
        ("none.toml:model", "holds one model and takes no name"),
    ):
        with pytest.raises(FileError, match=message):
            load_model(tmp_path / name)
