"""Columns that are the target in disguise are told, and data that are but easy are not."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

import undertow as ut
from undertow import nn
from undertow.flow import diagnose
from undertow.flow.telling import find_telling
from undertow.sklearn import MLPClassifier
from undertow.train.table import train_table
from undertow.train.table_settings import TableSettings

RNG = np.random.default_rng(0)
N = 600
X = RNG.normal(size=(N, 5))
CLASS = RNG.integers(0, 3, N)


def with_column(values, at=2):
    made = X.copy()
    made[:, at] = values
    return made


def train(X, y, **settings):
    model = nn.Sequential(nn.Dense(X.shape[1], 8), "tanh", nn.Dense(8, 3 if y.dtype.kind == "i" else 1))
    loss = "categorical_cross_entropy" if y.dtype.kind == "i" else "mean_squared_error"
    return ut.train(model, (X, y), **{"loss": loss, "epochs": 2, "progress": False, "seed": 0, **settings})


def findings(run):
    return [x for x in run.findings if x.kind == "telling-column"]


def celsius():
    return np.round(15 + 8 * X[:, 2], 1)


@pytest.mark.parametrize(
    ("column", "target", "how"),
    [
        (np.round(1.8 * celsius() + 32, 1), celsius(), "line"),  # another unit, rounded once more
        (-celsius(), celsius(), "line"),
        (np.exp(X[:, 2]), X[:, 2], "order"),
        (X[:, 2], np.floor(4 * X[:, 2]), None),  # a column that is finer than its target: R² is 0.995
        (X[:, 2] + 0.02 * X[:, 1], X[:, 2], None),  # a good instrument
        (np.abs(X[:, 2]), X[:, 2], None),
    ],
)
def test_numbers(column, target, how):
    found = find_telling(with_column(column), target, "number")
    assert [(x["columns"], x["how"]) for x in found] == ([([2], how)] if how else [])


@pytest.mark.parametrize(
    ("column", "labels", "how"),
    [
        (np.array([7.0, 1.0, 3.0])[CLASS], CLASS, "values"),  # other numbers for the same classes
        (X[:, 2], np.digitize(X[:, 2], [-0.4, 0.5]), "bounds"),  # marks made of a score
        (X[:, 2] + 12.0 * CLASS, CLASS, None),  # clusters far apart
        (X[:, 2] + 6.0 * CLASS, CLASS, None),
        (X[:, 2], (X[:, 2] + 0.05 * X[:, 1] > 0).astype(int), None),  # good, not perfect
        (np.where(RNG.random(N) < 0.99, CLASS, (CLASS + 1) % 3), CLASS, None),
    ],
)
def test_classes(column, labels, how):
    for y in (labels, np.eye(3)[labels]):
        found = find_telling(with_column(column), y, "classes")
        assert [(x["columns"], x["how"]) for x in found] == ([([2], how)] if how else [])


def test_columns_of_a_text_are_judged_together():
    onehot = np.concatenate([X, np.eye(3)[CLASS]], axis=1)
    features = [*[[f"x{i}", f"x{i}"] for i in range(5)], *[[f"group={i}", "group"] for i in range(3)]]
    for y, kind in (CLASS, "classes"), (np.array([2.5, -1.0, 8.0])[CLASS], "number"):
        (found,) = find_telling(onehot, y, kind, features)
        assert found["columns"] == [5, 6, 7] and found["name"] == "group" and found["how"] == "values"
    mixed = np.where(RNG.random(N) < 0.98, CLASS, 0)
    assert find_telling(onehot, mixed, "classes", features) == []


def test_real_data_that_are_easy_have_no_such_column():
    """Petal length and width part one kind of iris from both others without an error: by a wide gap."""
    datasets = pytest.importorskip("sklearn.datasets")
    for load in (datasets.load_iris, datasets.load_wine, datasets.load_breast_cancer, datasets.load_digits):
        data = load()
        assert find_telling(data.data, data.target, "classes") == []
        for k in range(data.target.max() + 1):
            assert find_telling(data.data, (data.target == k).astype(int), "classes") == []
    data = datasets.load_diabetes()
    assert find_telling(data.data, data.target, "number") == []


def test_clusters_are_told_from_what_was_cut():
    """Of 100 tables each: clusters that a column parts without an error, and a column that was cut somewhere."""
    found = {"clusters": 0, "cut": 0}
    for seed in range(100):
        rng = np.random.default_rng(seed)
        labels, rows = rng.integers(0, 2, 300), rng.normal(size=(300, 3))
        found["cut"] += len(find_telling(rows, (rows[:, 1] > rng.uniform(-1, 1)).astype(int), "classes"))
        rows[:, 1] += rng.uniform(4, 14) * labels
        found["clusters"] += len(find_telling(rows, labels, "classes"))
    assert found["clusters"] <= 1 and found["cut"] >= 85


def test_nothing_is_said_of_few_rows_one_column_or_chance():
    y = X[:, 0].copy()
    assert find_telling(X[:, :1], y, "number") == []  # there is no other column
    assert find_telling(X[:15], y[:15], "number") == []
    rare = (RNG.random((N, 400)) < 0.004).astype(float)
    labels = np.zeros(N, int)
    labels[:3] = 1
    assert find_telling(rare, labels, "classes") == []  # one of 400 rare columns may have the same three rows


@pytest.mark.parametrize("first", range(3))
def test_a_word_of_one_class_alone_does_not_tell_the_others(first):
    """It is 0 in rows of all classes, the first of them of any, and above 0 only in rows of the last class."""
    rng = np.random.default_rng(0)
    labels = (np.arange(600) + first) % 3
    word = np.where((labels == 2) & (rng.random(600) < 0.7), rng.uniform(0.01, 1, 600), 0.0)
    word[0] = 0.0
    assert find_telling(np.column_stack([rng.normal(size=600), word]), labels, "classes") == []


def test_an_array_gets_a_note_and_what_is_easy_gets_none():
    (finding,) = findings(train(X, 3 * X[:, 2] - 1))
    assert finding.severity == "note" and finding.cause.startswith("Column 2 of X is the target in another unit")
    names = {"np": np, "X": X}
    exec(finding.remedies[0].code, names)
    np.testing.assert_array_equal(names["X"], X[:, [0, 1, 3, 4]])
    assert findings(train(X, X @ np.ones(5))) == []
    assert findings(train(X, CLASS)) == []


def test_several_columns_are_listed():
    made = np.concatenate([X, X[:, :1] * 2, X[:, :1] ** 3], axis=1)
    (finding,) = findings(train(made, X[:, 0] + 0.0))
    assert "So do column 5 of X and column 6 of X." in finding.cause and len(finding.evidence) == 3


def test_columns_that_are_left_out_already_stay_so(tmp_path):
    """The option takes the place of what was told before; a column of weights is no part of it."""
    table = {"my id": np.arange(N), "w": np.ones(N), "usd": 2 * X[:, 0], "b": X[:, 1], "y": 3 * X[:, 0]}
    pl.DataFrame(table).write_csv(tmp_path / "t.csv")
    settings = TableSettings(
        data=str(tmp_path / "t.csv"), target="y", hidden=[4], epochs=1, refit=False, leave_out=["my id"], weights="w"
    )
    run, _ = train_table(settings, tmp_path / "run", progress=False, say=lambda _: None)
    (finding,) = findings(run)
    assert finding.remedies[0].option == "--leave-out 'my id,usd'"


def test_a_table_s_columns_are_named(tmp_path):
    """The price in another currency, and a code for each class: a warning that names them, and how to drop them."""
    price = np.round(200 + 40 * X[:, 0] + 10 * X[:, 1], 2)
    columns = {"size": X[:, 0], "usd": np.round(1.08 * price, 2), "town": RNG.choice(["here", "there"], N)}
    cases = {
        "price": ({**columns, "price": price}, "usd", "is the target 'price' in another unit"),
        "kind": (
            {"size": X[:, 0], "code": np.array(["K1", "K7", "K9"])[CLASS], "kind": np.array(["a", "b", "c"])[CLASS]},
            "code", "tells the target 'kind' by its value",
        ),
    }  # fmt: skip
    for target, (table, column, what) in cases.items():
        for name, frame in ("with", pl.DataFrame(table)), ("without", pl.DataFrame(table).drop(column)):
            pl.DataFrame(frame).write_csv(tmp_path / f"{name}.csv")
            settings = TableSettings(
                data=str(tmp_path / f"{name}.csv"), target=target, hidden=[4], epochs=1, refit=False
            )
            run, _ = train_table(settings, tmp_path / f"{target} {name}", progress=False, say=lambda _: None)
            found = findings(run)
            assert len(found) == (name == "with")
            for finding in found:
                assert finding.severity == "warning" and finding.cause.startswith(f"Column '{column}' {what}")
                assert finding.remedies[0].code.startswith(f"table = table.drop('{column}')")
                assert finding.remedies[0].sentence.startswith(f"Leave '{column}' out, ")
                assert finding.remedies[0].option == f"--leave-out {column}"
                told = replace(settings, leave_out=[column])
                mended, _ = train_table(told, tmp_path / "mended", overwrite=True, progress=False, say=lambda _: None)
                assert not findings(mended)
                assert finding in diagnose(run.flow)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_an_estimator_s_columns_are_named():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(with_column(CLASS), columns=["a", "b", "mark", "d", "e"])
    fitted = MLPClassifier(hidden_layer_sizes=(4,), max_iter=2, random_state=0, flow=True).fit(frame, CLASS)
    (finding,) = findings(fitted.run_)
    assert finding.cause.startswith("Column 'mark' tells the target") and finding.severity == "warning"


def test_a_column_that_is_filled_in_for_one_class_alone_tells_it():
    """The day on which customers left is 0 for all who have not; a gap between two clusters says nothing."""
    two = RNG.integers(0, 2, N)
    days = np.where(two == 1, RNG.integers(100, 400, N), 0)
    assert [(x["columns"], x["how"]) for x in find_telling(with_column(days), two, "classes")] == [([2], "filled")]
    assert not find_telling(with_column(np.where(RNG.random(N) < 0.02, 0, days)), two, "classes")
    apart = np.where(two == 1, RNG.normal(100, 1, N), RNG.normal(0, 1, N))
    few = np.where(two == 1, RNG.integers(1, 17, N), 0)  # as a pixel that one kind of images leaves dark
    assert not find_telling(with_column(apart), two, "classes") and not find_telling(with_column(few), two, "classes")


def test_pixels_that_one_kind_of_images_leaves_dark_are_no_column_that_tells():
    """Circles are dark in their middle, and strokes are not; there are many such columns."""
    rng, at = np.random.default_rng(0), np.arange(20) - 9.5
    two = rng.integers(0, 2, 400)

    def draw(circle):
        (x, y), (a, b), width = rng.normal(0, 0.3, 2), rng.uniform(5, 7, 2), rng.uniform(1.2, 1.8)
        slope = rng.normal(0, 0.05)
        rows, columns = (at - y)[:, None], at - x
        distance = 6 * np.abs(np.hypot(columns / a, rows / b) - 1) if circle else columns - slope * rows
        return np.round(255 * rng.uniform(0.7, 1) * np.clip(1.3 * np.exp(-((distance / width) ** 2) / 2) - 0.1, 0, 1))

    images = np.array([draw(kind == 0) for kind in two]).reshape(400, -1)
    dark = [i for i in range(400) if not images[two == 0, i].any() and images[two == 1, i].all()]
    assert any(len(np.unique(images[:, i])) > 50 for i in dark)
    assert not find_telling(images, two, "classes")
    alone = np.column_stack([X[:400, :2], images[:, dark]])
    assert {x["how"] for x in find_telling(alone, two, "classes")} == {"filled"}
