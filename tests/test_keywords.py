"""Arguments by the names of other libraries: the error says what they are called here."""

import inspect
import pickle

import numpy as np
import pytest

import undertow as ut
from undertow import nn, optim
from undertow.train import EarlyStopping, ReduceOnPlateau


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: optim.adam(lr=1e-3), r"adam\(\) got an unexpected keyword argument 'lr'. Use rate.$"),
        (lambda: optim.adam(1e-3, betas=(0.9, 0.99)), "Use beta1 and beta2.$"),
        (lambda: optim.adam(1e-3, weight_decay=0.1), r"adamw\(rate, decay=…\) has it.$"),
        (lambda: optim.adamw(1e-3, weight_decay=0.1), "Use decay.$"),
        (lambda: optim.sgd(0.1, momentum=0.9), r"momentum\(rate, beta\) has it.$"),
        (lambda: optim.rmsprop(0.1, alpha=0.9), "Use beta.$"),
        (lambda: optim.adam(params=[]), "Parameters are given to init and update"),
        (lambda: optim.clip_by_global_norm(max_norm=1.0), "Use limit.$"),
        (lambda: optim.step_decay(0.1, gamma=0.5, every=3), "Use factor.$"),
        (lambda: optim.adam(epsilom=1e-3), "Did you mean 'epsilon'?"),
        (lambda: optim.cosine(0.1, nothing=1), "Its arguments are rate, steps, end.$"),
        (lambda: nn.Dense(in_features=3, fan_out=4), r"^Dense got an unexpected .* 'in_features'. Use fan_in.$"),
        (lambda: nn.Dense(3, 4, activation="relu"), "An activation is a function or its name"),
        (lambda: nn.Dropout(p=0.5), "Use rate.$"),
        (lambda: nn.Embedding(10, embedding_dim=4), "Use size.$"),
        (lambda: EarlyStopping(restore_best_weights=True), r"^EarlyStopping got .* Use restore_best\.$"),
        (lambda: EarlyStopping(verbose=1), r"The progress that undertow\.train prints"),
        (lambda: ReduceOnPlateau(min_lr=1e-5), r"Use min_scale\.$"),
        (lambda: ReduceOnPlateau(threshold=1e-3), r"Use min_delta\.$"),
        (lambda: ut.grad(np.sum, argnums=1), r"^grad\(\) got an unexpected .* 'argnums'. Use wrt.$"),
        (lambda: ut.jacobian(np.sum, has_aux=True), r"pull = undertow.vjp\(f, x\).$"),
        (lambda: ut.compile(np.sum, static_argnums=1), "functools.partial"),
    ],
)
def test_an_argument_of_another_name_is_told_ours(call, said):
    with pytest.raises(TypeError, match=said):
        call()


def test_other_errors_and_what_is_known_of_a_function_stay():
    with pytest.raises(TypeError, match=r"missing 1 required positional argument: 'steps'$"):
        optim.cosine(0.1)
    with pytest.raises(TypeError, match=r"takes from 0 to 4 positional arguments but 5 were given$"):
        optim.adam(1, 2, 3, 4, 5)
    assert list(inspect.signature(optim.adam).parameters) == ["rate", "beta1", "beta2", "epsilon"]
    assert list(inspect.signature(nn.Dense).parameters)[:2] == ["fan_in", "fan_out"]
    assert pickle.loads(pickle.dumps(optim.adam)) is optim.adam


@pytest.mark.parametrize(
    ("given", "own"),
    [
        ("lr", "learning_rate_init"),
        ("epochs", "max_iter"),
        ("batch", "batch_size"),
        ("weight_decay", "alpha"),
        ("seed", "random_state"),
        ("patience", "n_iter_no_change"),
        ("droput", "dropout"),
    ],
)
def test_estimators_tell_their_names_of_arguments(given, own):
    pytest.importorskip("sklearn")
    from undertow.sklearn import MLPClassifier, MLPRegressor

    for estimator in (MLPClassifier, MLPRegressor):
        with pytest.raises(TypeError, match=rf"^{estimator.__name__} got .* '{given}'\. .*{own}"):
            estimator(**{given: 1})
