"""scikit-learn estimators: networks with scikit-learn's names and meanings, trained by compiled steps."""

try:
    import sklearn as _sklearn  # noqa: F401
except ImportError:
    raise ImportError("undertow.sklearn needs scikit-learn. Install it with: pip install scikit-learn") from None

from undertow.sklearn.classifier import MLPClassifier
from undertow.sklearn.diverged import FitDiverged
from undertow.sklearn.regressor import MLPRegressor

__all__ = ["FitDiverged", "MLPClassifier", "MLPRegressor"]
