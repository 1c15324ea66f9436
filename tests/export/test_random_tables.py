"""Random tables: both exports read them as the encoder does, whatever the columns hold and whatever is missing."""

import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import undertow as ut
from exported import load_source
from undertow import nn
from undertow.export import export_onnx, export_source

TEXTS = ["a", "Ωmega", "with space", " lead", "x,y", 'q"uote', "nan", "NA", "1", "1.0", "true", "\\n", "a\nb", "🙂"]
START = datetime.datetime(2020, 1, 1)
KINDS = {
    "number": lambda rng, n: rng.normal(size=n) * 10.0 ** rng.integers(-3, 7) + 10.0 ** rng.integers(0, 9),
    "count": lambda rng, n: rng.integers(-5, 50, n),
    "boolean": lambda rng, n: rng.random(n) > 0.5,
    "day": lambda rng, n: [START.date() + datetime.timedelta(int(k)) for k in rng.integers(-20000, 20000, n)],
    "moment": lambda rng, n: [START + datetime.timedelta(seconds=float(k)) for k in rng.random(n) * 1e8],
    "duration": lambda rng, n: [datetime.timedelta(seconds=float(k)) for k in rng.normal(size=n) * 1e5],
    "time": lambda rng, n: [(START + datetime.timedelta(seconds=float(k))).time() for k in rng.random(n) * 86400],
    "text": lambda rng, n: [TEXTS[k] for k in rng.integers(0, rng.integers(2, len(TEXTS)), n)],
}
TARGETS = [
    lambda rng, n: [["yes", "no", "perhaps"][k] for k in rng.integers(0, 3, n)],
    lambda rng, n: rng.random(n) > 0.5,
    lambda rng, n: rng.integers(3, 6, n),
    lambda rng, n: rng.normal(size=n) * 50 + 1000,
]


def draw_table(rng, kinds, n, share_missing):
    columns = {}
    for name in kinds:
        values = KINDS[name.split()[0]](rng, n)
        values = values.tolist() if isinstance(values, np.ndarray) else values
        columns[name] = [None if rng.random() < share_missing else value for value in values]
    return columns


def as_inputs(frame, encoder):
    """The table as the ONNX model takes it; what numbers dates and times are is counted here by hand."""
    inputs = {}
    for column in encoder.columns:
        series = frame[column.name]
        if series.dtype == pl.String:
            inputs[column.name] = np.array([[text or ""] for text in series.to_list()], dtype=object)
            continue
        numbers = []
        for value in series.to_list():
            if isinstance(value, datetime.time):
                value = datetime.datetime.combine(START, value) - START
            elif isinstance(value, datetime.datetime):
                value = value - datetime.datetime(1970, 1, 1)
            elif isinstance(value, datetime.date):
                value = value - datetime.date(1970, 1, 1)
            if isinstance(value, datetime.timedelta):
                value = value.total_seconds() / 86400
            numbers.append([np.nan if value is None else float(value)])
        inputs[column.name] = np.array(numbers)
    return inputs


def draw_options(rng):
    return {
        "scaling": str(rng.choice(["standard", "robust", "quantile", "both", "none"])),
        "categories": str(rng.choice(["one_hot", "codes"])),
        "min_count": int(rng.integers(1, 5)),
        "dates": str(rng.choice(["auto", "parts"])),
    }


@pytest.mark.parametrize("seed", range(24))
def test_random_tables(seed, tmp_path):
    """Beyond the first ten, the encoder has scalings, codes, rare texts and parts of dates too."""
    rng = np.random.default_rng(seed)
    options = draw_options(rng) if seed >= 10 else {}
    kinds = [f"{rng.choice(list(KINDS))} {i}{rng.choice(['', 'é', '?', chr(34)])}" for i in range(rng.integers(2, 7))]
    table = draw_table(rng, kinds, 40, 0.2 * (seed % 2))
    table["to predict"] = list(TARGETS[seed % 4](rng, 40))
    frame = pl.DataFrame(table)
    encoder = ut.data.encode_table(frame, "to predict", validation=0.0, **options).encoder
    model = nn.Sequential(nn.Dense(encoder.n_features, 4), "tanh", nn.Dense(4, encoder.n_outputs))
    loss = "categorical_cross_entropy_with_logits" if encoder.classes else "mean_squared_error"
    model = nn.initialize(model, seed)
    model.layers[2].b[:] = rng.normal(size=encoder.n_outputs)  # else a row of zeros is a tie between classes
    run = ut.Run(model, settings={"loss": loss}, extras={"encoder": encoder.to_json_dict()})
    new = pl.DataFrame(draw_table(rng, kinds, 15, 0.2), schema={name: frame[name].dtype for name in kinds})
    X = encoder.transform(new, report=[])
    wanted = encoder.decode(run.predict(X) if encoder.classes else run.outputs(X)).tolist()

    module = load_source(export_source(run, tmp_path / "model.py"))
    np.testing.assert_allclose(module.encode(new.to_dicts(), module.COLUMNS), X, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(module.encode_target(frame.to_dicts()), encoder.encode_target(frame))
    check(module.predict_rows(new.to_dicts()), wanted, encoder)

    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(Path(export_onnx(run, tmp_path / "model.onnx")).read_bytes())
    output, label, *_ = session.run(None, as_inputs(new, encoder))
    np.testing.assert_allclose(output, run.outputs(X), rtol=1e-5, atol=1e-5)
    check(label.reshape(-1).tolist(), wanted, encoder)


def test_columns_without_names_are_those_of_training(tmp_path):
    """Two of them: they are called by their places in both."""
    rng = np.random.default_rng(0)
    rows = [f"{a:.3f},{b:.3f},{c:.3f},{'yes' if a > b else 'no'}" for a, b, c in rng.normal(size=(60, 3))]
    file = tmp_path / "new.csv"
    file.write_text(",b,,y\n" + "\n".join(rows) + "\n")
    frame = ut.data.read_table(file)
    data = ut.data.encode_table(frame, "y", validation=0.0)
    run = ut.train(nn.Sequential(nn.Dense(3, 2)), data, loss="categorical_cross_entropy", progress=False)
    module = load_source(export_source(run, tmp_path / "model.py"))
    wanted = run.predict(frame).tolist()
    assert module.predict_rows(module.read_csv(file, ())) == wanted and len(set(wanted)) == 2


def test_separators_within_quoted_names_are_part_of_these(tmp_path):
    """As csv.reader has it: a semicolon parts three columns, of which the second is named with three commas."""
    rows = [f"{a:.3f};{b:.3f};{'yes' if a > b else 'no'}" for a, b in np.random.default_rng(0).normal(size=(60, 2))]
    file = tmp_path / "new.csv"
    file.write_text('"a";"b, in kg, net, dry";y\n' + "\n".join(rows) + "\n")
    data = ut.data.encode_table(ut.data.read_table(file), "y", validation=0.0)
    run = ut.train(nn.Sequential(nn.Dense(2, 2)), data.train, loss="categorical_cross_entropy", progress=False)
    run.extras["encoder"] = data.encoder.to_json_dict()
    module = load_source(export_source(run, tmp_path / "model.py"))
    wanted = data.encoder.decode(run.predict(data.train[0])).tolist()
    assert module.predict_rows(module.read_csv(file, ())) == wanted and len(set(wanted)) == 2


@pytest.mark.parametrize("name", ['3"', "a\\b", "two\nlines", "'", '"""', "{x}", "%s", "é"])
def test_columns_of_any_name(name, tmp_path):
    """A name stands in the exported file as Python's text, also where its texts are spelled as missing values."""
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({name: [["NA", "b", "nan"][k] for k in rng.integers(0, 3, 40)], "y": rng.normal(size=40)})
    encoder = ut.data.encode_table(frame, "y", validation=0.0).encoder
    model = nn.initialize(nn.Sequential(nn.Dense(encoder.n_features, 1)), 0)
    extras = {"encoder": encoder.to_json_dict()}
    run = ut.Run(model, settings={"loss": "mean_squared_error"}, extras=extras)
    module = load_source(export_source(run, tmp_path / "model.py"))
    wanted = encoder.decode(run.outputs(encoder.transform(frame, report=[])))
    frame.write_csv(tmp_path / "t.csv")
    for rows in (frame.to_dicts(), module.read_csv(tmp_path / "t.csv", module.TEXTS)):
        np.testing.assert_allclose(module.predict_rows(rows), wanted, rtol=1e-6)


def check(found, wanted, encoder):
    if encoder.classes:
        assert found == wanted
    else:
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_the_calendar_of_onnx(tmp_path):
    """Python's calendar for days of 800 years, with every kind of leap year, and for hours."""
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(0)
    first = datetime.datetime(1599, 12, 30)
    moments = [first + datetime.timedelta(hours=float(k)) for k in rng.uniform(0, 800 * 365.25 * 24, 3000)]
    moments += [first + datetime.timedelta(int(day)) for day in range(100)]
    moments += [datetime.datetime(y, m, d) for y in (1700, 1900, 2000, 2024, 2100) for m in (2, 3, 12) for d in (1, 28)]
    frame = pl.DataFrame({"at": moments, "y": rng.normal(size=len(moments))})
    encoder = ut.data.encode_table(frame, "y", validation=0.0, dates="parts").encoder
    model = nn.initialize(nn.Sequential(nn.Dense(encoder.n_features, encoder.n_features)), 0)
    model.layers[0].W[:] = np.eye(encoder.n_features)
    extras = {"encoder": encoder.to_json_dict()}
    run = ut.Run(model, settings={"loss": "mean_squared_error"}, extras=extras)
    session = runtime.InferenceSession(Path(export_onnx(run, tmp_path / "model.onnx")).read_bytes())
    features = session.run(["output"], as_inputs(frame, encoder))[0]
    year, month, weekday, day, hour = features[:, 1], *(features[:, k : k + 2] for k in (2, 4, 6, 8))
    years = np.array([m.year for m in moments])
    np.testing.assert_allclose(year, (years - years.mean()) / years.std(), atol=1e-5)
    for found, place in (
        (month, [(m.month - 1) / 12 for m in moments]),
        (weekday, [m.weekday() / 7 for m in moments]),
        (day, [(m.timetuple().tm_yday - 1) / 365.25 for m in moments]),
        (hour, [(m - m.replace(hour=0, minute=0, second=0, microsecond=0)) / datetime.timedelta(1) for m in moments]),
    ):
        angle = 2 * np.pi * np.array(place)
        np.testing.assert_allclose(found, np.stack([np.sin(angle), np.cos(angle)], axis=1), atol=2e-6)


def test_tables_written_for_people(tmp_path):
    """model.py reads dates and numbers in the layouts of training from a file, features and target alike."""
    rng = np.random.default_rng(0)
    moments = [START + datetime.timedelta(hours=float(k)) for k in rng.uniform(0, 20_000, 60)]
    amounts = (rng.normal(size=60) * 3000).tolist()
    french = [f"{v:,.2f} €".replace(",", "\u202f").replace(".", ",") for v in amounts]
    frame = pl.DataFrame(
        {
            "at": [f"{m:%d.%m.%Y %H:%M}" for m in moments],
            "day": [int(f"{m:%Y%m%d}") for m in moments],
            "short": [f"{m:%d.%m.%y}" for m in moments],
            "named": [f"{m:%d-%b-%y}".upper() for m in moments],
            "spelt": [f"{m:%B %d, %Y %I:%M %p}" for m in moments],
            "paid": french,
            "share": [f"{abs(v):.1f}%" if k % 9 else None for k, v in enumerate(amounts)],
            "much": [f"USD {'-' * (v < 0)}{abs(v):,.2f}" for v in amounts],
            "price": [f"-${abs(v) + 1:,.2f}" for v in amounts],
        }
    )
    frame.write_csv(tmp_path / "t.csv")
    encoder = ut.data.encode_table(frame, "price", validation=0.0).encoder
    assert not encoder.dropped and encoder.target.layout
    model = nn.initialize(nn.Sequential(nn.Dense(encoder.n_features, 4), "tanh", nn.Dense(4, 1)), 0)
    extras = {"encoder": encoder.to_json_dict()}
    run = ut.Run(model, settings={"loss": "mean_squared_error"}, extras=extras)
    module = load_source(export_source(run, tmp_path / "model.py"))
    rows = module.read_csv(tmp_path / "t.csv", module.TEXTS)
    X = encoder.transform(frame, report=[])
    np.testing.assert_allclose(module.encode(rows, module.COLUMNS), X, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(module.encode_target(rows), encoder.encode_target(frame), rtol=1e-6)
    np.testing.assert_array_equal(
        module.encode([{**row, "day": int(row["day"])} for row in rows], module.COLUMNS),
        module.encode(rows, module.COLUMNS),
    )
    for name, text in (
        ("at", "2023"),
        ("day", "20231301"),
        ("day", 20231301),
        ("short", "25.13.23"),
        ("named", "25-JLU-23"),
        ("paid", "12,5"),
        ("share", "5 %%"),
        ("much", "USD 1,23"),
    ):
        with pytest.raises(ValueError, match=f"row 1: column '{name}' holds"):
            module.encode([{**rows[0], name: text}], module.COLUMNS)
