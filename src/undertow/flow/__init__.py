"""How the gradient flows while a model trains: recorded, judged, mended."""

from undertow.flow.forecast import Forecast, forecast

__all__ = ["Forecast", "forecast"]
