"""What tests of trainings on tables share."""


def silently(function, *args, **more):
    """Train without progress; return the run, and what was said."""
    said = []
    run, _ = function(*args, progress=False, say=said.append, **more)
    return run, "\n".join(map(str, said))


def model_of(folder):
    """The bytes of a run's network."""
    return (folder / "model.safetensors").read_bytes()
