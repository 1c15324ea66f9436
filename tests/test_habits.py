"""A newcomer's words: names from PyTorch, Keras and scikit-learn, wrong case, and misspellings: messages name ours."""

import importlib
import re

import numpy as np
import pytest

import undertow as ut
from undertow import habits, nn, optim
from undertow.cli import app, attempt
from undertow.spelling import ELSEWHERE, did_you_mean, meant_name
from undertow.train import METRICS
from undertow.train.resume import open_training

X = np.linspace(-1, 1, 24, dtype=np.float32).reshape(12, 2)
Y = np.arange(12) % 2


def model() -> nn.Sequential:
    return nn.Sequential(nn.Dense(2, 2))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("mse", "mean_squared_error"),
        ("MSELoss", "mean_squared_error"),
        ("L1Loss", "mean_absolute_error"),
        ("CrossEntropyLoss", "categorical_cross_entropy"),
        ("categorical_crossentropy", "categorical_cross_entropy"),
        ("sparse_categorical_crossentropy", "categorical_cross_entropy"),
        ("binary_crossentropy", "binary_cross_entropy"),
        ("BCEWithLogitsLoss", "binary_cross_entropy_with_logits"),
        ("log_loss", "categorical_cross_entropy"),
        ("SmoothL1Loss", "huber"),
    ],
)
def test_losses_of_other_libraries(written: str, meant: str) -> None:
    with pytest.raises(ut.errors.ArgumentError, match=f"no loss '{written}'. Did you mean '{meant}'\\? Use one of"):
        ut.train(model(), (X, Y), loss=written, epochs=1, progress=False)


def test_optimizers_activations_and_metrics_of_other_libraries() -> None:
    with pytest.raises(ut.errors.ArgumentError, match=r"no optimizer 'Adam'. Did you mean 'adam'\?"):
        ut.train(model(), (X, Y), loss="categorical_cross_entropy", optimizer="Adam", progress=False)
    with pytest.raises(ut.errors.ArgumentError, match=r"no activation 'ReLU'. Did you mean 'relu'\?"):
        nn.Sequential(nn.Dense(2, 2), "ReLU")
    with pytest.raises(ut.errors.ArgumentError, match=r"no activation 'swish'. Did you mean 'silu'\?"):
        nn.Sequential(nn.Dense(2, 2), "swish")
    with pytest.raises(ut.errors.ArgumentError, match=r"no metric 'categorical_accuracy'. Did you mean 'accuracy'\?"):
        ut.train(model(), (X, Y), loss="categorical_cross_entropy", metrics=["categorical_accuracy"], progress=False)
    with pytest.raises(ut.errors.ArgumentError, match=r"no schedule 'CosineAnnealingLR'. Did you mean 'cosine'\?"):
        optim.build_schedule({"schedule": "CosineAnnealingLR"})


@pytest.mark.parametrize(
    ("package", "name", "told"),
    [
        ("undertow", "jit", r"Did you mean 'compile'\?"),
        ("undertow", "elementwise_grad", r"Use undertow\.grad\(lambda"),
        ("undertow", "Dense", r"Use undertow\.nn\.Dense"),
        ("undertow", "adam", r"Use undertow\.optim\.adam"),
        ("undertow", "primitive", r"Use undertow\.custom_vjp"),
        ("undertow.nn", "Linear", r"Use Dense\(fan_in, fan_out\)"),
        ("undertow.optim", "Adam", r"Did you mean 'adam'\?"),
    ],
)
def test_names_that_are_imported_are_told_of_as_attributes_are(package: str, name: str, told: str) -> None:
    """Python itself says only that it cannot import them."""
    with pytest.raises(ImportError, match=rf"cannot import '{name}': {package} has no attribute '{name}'. {told}"):
        exec(f"from {package} import {name}")
    with pytest.raises(AttributeError, match=told):
        exec(f"import {package}; {package}.{name}")
    assert not hasattr(importlib.import_module(package), name)


def test_a_layer_with_one_size_is_told_to_take_two() -> None:
    with pytest.raises(TypeError, match=r"Dense missing 1 .*'fan_out'\. Give both sizes\. .*Dense\(4, 8\)"):
        nn.Dense(16)  # type: ignore[call-arg]


def test_a_name_that_is_like_none_is_not_guessed() -> None:
    assert did_you_mean("banana", nn.LOSSES) == ""
    assert meant_name(3, nn.LOSSES) is None
    assert meant_name("target", ["id", "age", "income"]) is None


def test_every_name_from_elsewhere_leads_to_one_that_is_there() -> None:
    known = {*nn.LOSSES, *METRICS, *nn.ACTIVATIONS, *optim.OPTIMIZERS, *optim.SCHEDULES, *optim.__all__}
    known |= {"validation_loss", "validation_accuracy"}  # of the rows of a history
    assert set(ELSEWHERE.values()) <= known


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"epoch": 3}, "Did you mean 'epochs'?"),
        ({"lr": 0.1}, "optimizer=undertow.optim.adam(1e-3)"),
        ({"weight_decay": 0.1}, "undertow.optim.adamw(1e-3, decay=1e-2)"),
        ({"lr_scheduler": None}, "undertow.optim.cosine(1e-3, 1000)"),
        ({"validation_split": 0.2}, "validation=0.2"),
        ({"class_weight": "balanced"}, "Did you mean 'class_weights'?"),
        ({"verbose": 0}, "progress=False"),
        ({"device": "cuda"}, "leave it out"),
    ],
)
def test_arguments_of_other_libraries(settings: dict[str, object], remedy: str) -> None:
    name = next(iter(settings))
    with pytest.raises(ut.errors.ArgumentError, match=f"no setting '{name}'. .*{re.escape(remedy)}"):
        ut.train(model(), (X, Y), loss="categorical_cross_entropy", **settings)  # type: ignore[arg-type]


def test_x_and_y_that_are_no_pair() -> None:
    with pytest.raises(ut.errors.ArgumentError, match=re.escape("train(model, (X, y), loss=…)")):
        ut.train(model(), X, Y, loss="categorical_cross_entropy")  # type: ignore[arg-type]


def test_remedies_hold() -> None:
    """Settings, attributes and layers that are said to be missing are missing; optimizers in remedies can be made."""
    names = set(ut.train.__annotations__)
    assert names.isdisjoint(habits.TRAINING)
    assert not [name for name in habits.LAYERS if hasattr(nn, name)]
    assert not [name for name in habits.MODELS if hasattr(model(), name)]
    assert not [name for name in habits.RUNS if hasattr(ut.Run(model()), name)]
    for text in habits.TRAINING.values():
        for made in re.findall(r"optimizer=(undertow\.optim\..*\))\.", text):
            assert isinstance(eval(made, {"undertow": ut}), optim.Optimizer)


def test_attributes_of_other_libraries() -> None:
    with pytest.raises(AttributeError, match=re.escape("undertow.nn has no attribute 'Linear'. Use Dense(fan_in, ")):
        nn.Linear  # noqa: B018
    with pytest.raises(AttributeError, match=r"'ReLU'. Did you mean 'relu'\?"):
        nn.ReLU  # noqa: B018
    with pytest.raises(AttributeError, match=r"undertow.optim has no attribute 'Adam'. Did you mean 'adam'\?"):
        optim.Adam  # noqa: B018
    with pytest.raises(AttributeError, match=r"no attribute 'fit'. Train it with run = undertow.train\(model, "):
        model().fit(X, Y)
    with pytest.raises(AttributeError, match=re.escape("run.predict_probability(X)")):
        ut.Run(model()).predict_proba(X)
    assert getattr(nn, "banana", None) is getattr(model(), "banana", None) is None


def test_a_list_of_layers() -> None:
    with pytest.raises(ut.errors.ArgumentError, match=re.escape("with a star: Sequential(*layers)")):
        nn.Sequential([nn.Dense(2, 2), "relu"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "a.csv", "--lr", "0.1"), "error: No such option: --lr. Use --rate."),
        (("train", "a.csv", "--output", "b"), "error: No such option: --output. Use --out."),
        (("fit", "a.csv"), "error: there is no command 'fit'. Did you mean 'train'? Use one of "),
        (("trian", "a.csv"), "error: there is no command 'trian'. Did you mean 'train'? Use one of "),
    ],
)
def test_options_and_commands_of_other_programs(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert attempt(lambda: app(list(arguments), standalone_mode=False)) == 2
    assert capsys.readouterr().err.startswith(message)


def test_a_file_in_place_of_a_run(tmp_path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ut.errors.RunError, match=r"a.csv: this is a file, no folder. Give the folder of a run."):
        ut.load(tmp_path / "a.csv")


@pytest.mark.parametrize("every", [1, 2, 5])
def test_the_end_of_the_last_epoch_is_kept_where_its_last_step_was_kept_already(tmp_path, every: int) -> None:
    """10 steps, a checkpoint after each `every` of them: the run is found finished, not within its last epoch."""
    settings = {"loss": "categorical_cross_entropy", "validation": None, "batch_size": 6, "progress": False}
    ut.train(model(), (X, Y), epochs=5, checkpoint=tmp_path, checkpoint_every=every, **settings)
    trainer = open_training(tmp_path, (X, Y), progress=False, callbacks=())
    assert (trainer.epoch, trainer.over, trainer.done, len(trainer.run.history)) == (5, True, True, 5)
    trainer.keeper.end(trainer)


def test_targets_that_are_texts_or_labels_for_a_loss_of_numbers() -> None:
    texts = np.array(["a", "b"])[Y]
    told = "y[0] is 'a', no number. Number the classes from 0: classes, y = np.unique(y, return_inverse=True)."
    with pytest.raises(ut.errors.DataError, match=re.escape(told)):
        ut.train(model(), (X, texts), loss="categorical_cross_entropy", progress=False)
    classes, numbers = np.unique(texts, return_inverse=True)
    assert list(classes) == ["a", "b"] and np.array_equal(numbers, Y)
    with pytest.raises(ut.errors.ShapeError, match=r"give 1 column, or change y; labels of classes take loss='categ"):
        ut.train(model(), (X, Y), loss="mean_squared_error", progress=False)


def test_commands_are_listed_in_the_order_of_use_and_none_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert attempt(lambda: app(["--help"], standalone_mode=False)) == 0
    listed = re.findall(r"^  ([a-z-]+)  ", capsys.readouterr().out.split("Commands:")[1], re.MULTILINE)
    assert listed[:4] == ["train", "resume", "predict", "evaluate"] and len(listed) == len(app.registered_commands)


def test_a_run_says_how_it_ended() -> None:
    assert repr(ut.Run(model(), [{"loss": 1.0}])).endswith(", 1 epoch, finished, loss 1)")
    assert repr(ut.Run(model(), [{"loss": 1.0}] * 2, stopped="callback")).endswith("2 epochs, stopped early, loss 1)")


def test_resuming_what_had_stopped_early_says_why(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {"loss": "categorical_cross_entropy", "optimizer": optim.sgd(1e-9), "validation": 0.25}
    ut.train(model(), (X, Y), early_stopping=1, epochs=50, checkpoint=tmp_path, progress=False, **settings)
    assert ut.resume(tmp_path, (X, Y)).stopped == "callback"
    told = capsys.readouterr().out + capsys.readouterr().err
    assert "validation_loss has not improved for 1 epoch; its best is" in told


@pytest.mark.parametrize(
    ("package", "name", "told"),
    [
        (ut, "jit", "Did you mean 'compile'?"),
        (ut, "vmap", "Write it for a batch axis; undertow.per_example_grad"),
        (ut, "no_grad", "undertow.stop_gradient(x) makes x a constant"),
        (ut, "tensor", "Arrays are NumPy's"),
        (ut, "DataLoader", "undertow.train takes arrays"),
        (ut, "save", "run.save(folder)"),
        (ut, "fit", "Did you mean 'train'?"),
        (ut, "optimizers", "Use undertow.optim."),
        (ut, "compile_", "Did you mean 'compile'?"),
        (nn, "Parameter", "A float array in a field of a dataclass is trained"),
        (nn, "l2", "undertow.train(…, l1=…, l2=…)"),
        (nn, "functional", "Activations and losses are functions"),
        (nn, "Layer", "A layer is a dataclass with __call__(x)"),
        (optim, "clip_grad_norm_", "Use clip_by_global_norm(1.0)."),
        (optim, "lr_scheduler", "Schedules are functions that stand for the rate"),
        (optim, "ReduceLROnPlateau", "Use undertow.train(…, reduce_on_plateau=10)"),
        (optim, "StepLR", "Did you mean 'step_decay'?"),
        (ut, "remat", "Use undertow.checkpoint(f)"),
        (ut, "random", "numpy.random.default_rng(seed)"),
        (ut, "lax", "Loops and branches are Python's"),
        (ut, "hessian_vector_product", "Use undertow.hvp(f)(x, v)."),
        (ut.data, "DataLoader", "makes batches of batch_size"),
    ],
)
def test_names_of_other_libraries_lead_to_ours(package, name: str, told: str) -> None:
    with pytest.raises(AttributeError, match=rf"{package.__name__} has no attribute '{name}'\. .*{re.escape(told)}"):
        getattr(package, name)


def test_what_remedies_name_is_there() -> None:
    texts = [
        text
        for table in (
            habits.LAYERS,
            habits.MODELS,
            habits.RULES,
            habits.PACKAGE,
            habits.OPTIMIZERS,
            habits.DATA,
            habits.ARRAYS,
        )
        for text in table.values()
    ]
    assert not [name for name in habits.RULES if hasattr(optim, name)]
    assert not [name for name in habits.PACKAGE if hasattr(ut, name)]
    assert not [name for name in habits.DATA if hasattr(ut.data, name)]
    assert not [name for name in habits.ARRAYS if hasattr(np.ndarray, name)]
    for text in texts:
        for path in re.findall(r"undertow\.([a-z_.A-Z0-9]+)", text):
            found = ut
            for part in path.rstrip(".").split("."):
                if found is ut.train and part == "METRICS":
                    found = METRICS
                    continue
                if part == "sklearn":
                    break
                found = getattr(found, part)


@pytest.mark.parametrize(
    ("name", "told"), [("at", "Write x[i] = value"), ("detach", "stop_gradient"), ("unsqueeze", "x[:, None]")]
)
def test_names_of_tensors_lead_to_those_of_arrays(name: str, told: str) -> None:
    with pytest.raises(AttributeError, match=rf"a traced array has no attribute '{name}'\. .*{re.escape(told)}"):
        ut.grad(lambda x: getattr(x, name)(0))(np.ones(3))


def test_functions_that_make_functions_are_told_apart_from_what_they_make() -> None:
    """The arguments stand in the second pair of parentheses; jax.hvp of other libraries takes all at once."""

    def cube(x):
        return np.sum(x**3)

    x, v = np.array([1.0, 2.0]), np.array([1.0, 0.5])
    for call in (lambda: ut.hvp(cube, x, v), lambda: ut.hvp(cube, x)):
        with pytest.raises(ut.errors.ArgumentError, match=r"ut\.hvp\(cube\)\(x, v\)"):
            call()
    np.testing.assert_allclose(ut.hvp(cube)(x, v), 6 * x * v)
    with pytest.raises(ut.errors.ArgumentError, match=r"wrt=a ndarray.*hessian\(f\)\(x\)"):
        ut.hessian(cube, x)
    with pytest.raises(AttributeError, match="Did you mean 'grad'"):
        ut.gradient  # noqa: B018


def test_the_list_of_commands_is_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    """Each has a first sentence that fits in a terminal of 80 columns."""
    app(["--help"], standalone_mode=False)
    listed = capsys.readouterr().out.split("Commands:")[1].strip().splitlines()
    assert len(listed) > 10 and all(line.rstrip().endswith(".") and "..." not in line for line in listed)
