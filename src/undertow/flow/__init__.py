"""How the gradient flows while a model trains: recorded, judged, mended."""
