"""The parts of an exported source that do not depend on the network: predicting, the command line, the parameters."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Sequence
from math import prod

from undertow.data import ClassTarget, NumberTarget
from undertow.export.subject import Subject
from undertow.export.table_functions import open_text

READ_BASE64 = '''def read_parameters(text):
    """The parameters by name, from their bytes in base64."""
    data = base64.b64decode(text)
    params, start = {}, 0
    for name, (dtype, shape) in SHAPES.items():
        dtype = np.dtype("float64" if dtype == "number" else dtype).newbyteorder("<")
        count = int(np.prod(shape))
        value = np.frombuffer(data, dtype, count, start).reshape(shape).astype(dtype.newbyteorder("="))
        params[name] = float(value) if SHAPES[name][0] == "number" else value
        start += count * dtype.itemsize
    return params'''

READ_NPZ = '''def read_parameters(path):
    """The parameters by name, from the file beside this one."""
    with np.load(path, allow_pickle=False) as file:
        return {name: float(file[name]) if SHAPES[name][0] == "number" else file[name] for name in SHAPES}'''


def write_predict(subject: Subject) -> str:
    """Write the function ``predict``.

    Args:
        subject: what is exported.

    Returns:
        Its source.
    """
    z = "z" if subject.classifies and subject.logits else "p"
    result = z
    if subject.task == "categorical":
        note, result = "The class of each row of X, counted from 0.", f"np.argmax({z}, axis=1)"
    elif subject.task == "binary":
        note = "The class of each row of X, 0 or 1."
        column = "[:, 0]" if subject.output.spec.shape[1:] == (1,) else ""
        result = f"({z} > {0 if subject.logits else 0.5}).astype(np.int64){column}"
    else:
        note = "The prediction for each row of X."
        if subject.loss is not None and subject.loss.decision is not None:
            z, result = "z", "decide(z)"
    return f'''def predict(X, params=None):
    """{note}"""
    X = np.asarray(X, dtype=np.{subject.dtype})
    {z} = outputs(PARAMS if params is None else params, X)
    return {result}'''


def write_probability(subject: Subject) -> str:
    """Write the function ``predict_probability``.

    Args:
        subject: what is exported; its outputs stand for classes.

    Returns:
        Its source.
    """
    call = "softmax(z, axis=1)" if subject.task == "categorical" else "sigmoid(z)"
    what = "each class" if subject.task == "categorical" else "class 1"
    z = "z" if subject.logits else "p"
    return f'''def predict_probability(X, params=None):
    """The probability of {what}, a row an example."""
    X = np.asarray(X, dtype=np.{subject.dtype})
    {z} = outputs(PARAMS if params is None else params, X)
    return {call if subject.logits else z}'''


def write_rows(target: ClassTarget | NumberTarget, missing: Sequence[str] = ()) -> list[str]:
    """Write ``predict_rows`` and ``encode_target``.

    Args:
        target: the column to predict.
        missing: marks of a missing value.

    Returns:
        Their sources.
    """
    if isinstance(target, ClassTarget):
        predict = '''def predict_rows(rows, params=None):
    """The class label of each row; a row is a dictionary with a value (or None) for each column."""
    if not rows:
        return []
    return [CLASSES[k] for k in predict(encode(rows, COLUMNS), params)]'''
        text = isinstance(target.classes[0], str)
        read = "write_text(row.get(TARGET))" if text else "row.get(TARGET)"
        found = "label" if text else 'read_value(label, {"name": TARGET, "kind": "number"}, number)'
        encode = f'''def encode_target(rows):
    """The target of rows to train on: class numbers, (m,)."""
    places = {{label: k for k, label in enumerate(CLASSES)}}
    y = []
    for number, row in enumerate(rows, 1):
        label = {read}
        k = places.get({found})
        if k is None:
            raise ValueError(f"row {{number}}: {{TARGET!r}} is {{label!r}}, which is none of {{CLASSES}}.")
        y.append(k)
    return np.array(y)'''
        return [predict, encode]
    predict = '''def predict_rows(rows, params=None):
    """The predicted number for each row, in the target's unit; a row is a dictionary with a value
    (or None) for each column."""
    if not rows:
        return []
    p = predict(encode(rows, COLUMNS), params)
    return BACK.tolist()'''
    encode = '''def encode_target(rows):
    """The target of rows to train on: standardised numbers, float32 (m, 1)."""
    column = {"name": TARGET, "kind": "number"LAYOUT}
    y = np.array([read_value(row.get(TARGET), column, number) for number, row in enumerate(rows, 1)])
    if np.isnan(y).any():
        raise ValueError(f"row {int(np.argmax(np.isnan(y))) + 1}: {TARGET!r} is missing.")
    return ((BENT - MEAN) / SCALE).astype(np.float32)[:, None]'''
    back = "(p[:, 0].astype(np.float64) * SCALE + MEAN)"
    back, bent = {"": (back, "y"), "log": (f"np.exp{back}", "np.log(y)"), "log1p": (f"np.expm1{back}", "np.log1p(y)")}[
        target.curve
    ]
    predict, encode = predict.replace("BACK", back), encode.replace("BENT", bent)
    if target.curve:
        encode = encode.replace("standardised numbers", "its logarithm, standardised")
    more = f', "layout": {target.layout!r}' if target.layout else ""
    encode = encode.replace("LAYOUT", more + (f', "missing": {list(missing)!r}' if missing else ""))
    return [predict, encode]


def write_main(subject: Subject) -> list[str]:
    """Write what ``python model.py data.csv`` runs.

    Args:
        subject: what is exported.

    Returns:
        The sources of its functions.
    """
    if subject.encoder is not None:
        names = ", UNNAMED, TARGET" if subject.unnamed else ""
        reads, found = f"rows = read_csv(path, TEXTS{names})", "predict_rows(rows)"
        X, classes = "encode(rows, COLUMNS)", "CLASSES"
    else:
        reads, found, X = "X = read_matrix(path)", "predict(X)", "X"
        n = subject.output.spec.shape[-1] if subject.output.spec.ndim > 1 else 1
        classes = "[1]" if subject.task == "binary" and n == 1 else f"range({n})"
    option, more = "", ""
    both = "p = np.hstack([1 - p, p])\n        " if subject.encoder is not None and subject.task == "binary" else ""
    if subject.knows_probabilities:
        option = '\n    parser.add_argument("--probabilities", action="store_true", help="those of the classes too")'
        more = f"""
    if given.probabilities:
        p = predict_probability({X})
        {both}header += [f"p({{label}})" for label in {classes}]
        lines = [line + row for line, row in zip(lines, p.reshape(len(lines), -1).tolist(), strict=True)]"""
    with_names = "" if subject.unnamed else " with one line of column names"
    main = f'''def main():
    """Print predictions for the rows of a CSV file, as CSV."""
    parser = argparse.ArgumentParser(description="Predictions for the rows of a CSV file.")
    parser.add_argument("file", help="a table{with_names}"){option}
    given = parser.parse_args()
    try:
        {reads.replace("path", "given.file")}
        found = {found}
        if len(found) == 0:
            raise ValueError(f"{{given.file}} holds no rows.")
    except UnicodeDecodeError as error:
        sys.exit(f"{{parser.prog}}: {{given.file}} is neither UTF-8 nor UTF-16: {{error}}. Save it in UTF-8.")
    except OSError as error:
        sys.exit(f"{{parser.prog}}: {{given.file}} cannot be read: {{error.strerror}}.")
    except ValueError as error:
        sys.exit(f"{{parser.prog}}: {{error}}")
    lines = [np.ravel(value).tolist() for value in found]
    width = len(lines[0])
    header = ["prediction"] if width == 1 else [f"prediction {{k}}" for k in range(width)]{more}
    try:
        csv.writer(sys.stdout, lineterminator="\\n").writerows([header, *lines])
        sys.stdout.flush()
    except BrokenPipeError:  # head and the like read no further
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())'''
    if subject.encoder is not None:
        return [main]
    return [without_types(inspect.getsource(open_text).rstrip()), _write_read_matrix(subject), main]


def _write_read_matrix(subject: Subject) -> str:
    sizes = subject.x.spec.shape[1:]
    width = prod(int(size) for size in sizes if isinstance(size, int))
    shape = "".join(f", {size}" for size in sizes)
    return f'''def read_matrix(path):
    """The numbers of a CSV file, a row an example; a first line of column names is left out."""
    values = []
    with open_text(path) as file:
        lines = csv.reader(file)
        for row in lines:
            try:
                numbers = [float(field) for field in row]
            except ValueError:
                if lines.line_num == 1:
                    continue
                raise ValueError(f"{{path}}, line {{lines.line_num}}: not all of it is numbers.") from None
            if len(numbers) not in (0, {width}):
                raise ValueError(
                    f"{{path}}, line {{lines.line_num}}: {{len(numbers)}} numbers, but the network takes {width}."
                )
            if numbers:
                values.append(numbers)
    return np.array(values, dtype=np.{subject.dtype}).reshape(len(values){shape})'''


def without_types(text: str) -> str:
    """A function without the annotations of its arguments: fewer things to read."""
    function = ast.parse(text).body[0]
    assert isinstance(function, ast.FunctionDef)
    for argument in function.args.args:
        argument.annotation = None
    body = text.splitlines()[function.body[0].lineno - 1 :]
    return "\n".join([f"def {function.name}({ast.unparse(function.args)}):", *body])
