"""What happens at the end of an epoch: the state that a run resumes from, its history, and pictures."""

import contextlib
import csv
import io
import json
import sys
import time
from pathlib import Path

import h5py
import keras
import numpy as np

from galzoo.errors import InputError
from galzoo.files import atomic_path, write_text


class RunState(keras.callbacks.Callback):
    """Save everything that training depends on after each epoch, so that a killed run goes on as if nothing happened.

    Parameters
    ----------
    folder : Path
        The run's folder; ``state.h5`` and ``history.csv`` are written there, each under its name only when complete.
    stage : int
        Number of the stage that runs.
    history : list of dict
        Rows of the epochs done so far; added to.
    """

    def __init__(self, folder, stage, history):
        super().__init__()
        self.folder, self.stage, self.history = Path(folder), stage, history

    def on_epoch_begin(self, epoch, logs=None):
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        numbers = {name: float(value) for name, value in (logs or {}).items()}
        seconds = round(time.perf_counter() - self._started, 2)
        self.history.append({"stage": self.stage, "epoch": epoch + 1, "seconds": seconds, **numbers})
        self.save(self.stage, epoch + 1)
        write_text(self.folder / "history.csv", _as_csv(self.history))

    def save(self, stage, epoch):
        """Write the state: `epoch` epochs of `stage` are done."""
        with atomic_path(self.folder / "state.h5") as path, h5py.File(path, "w") as file:
            file.attrs["progress"] = json.dumps({"stage": stage, "epoch": epoch, "history": self.history})
            for kind, variables in _variables(self.model).items():
                for number, variable in enumerate(variables):
                    file[f"{kind}/{number}"] = keras.ops.convert_to_numpy(variable)


def read_progress(folder):
    """Return how far a run came: a dict of ``stage``, ``epoch`` and ``history``, or None for a fresh one."""
    path = Path(folder) / "state.h5"
    if not path.is_file():
        return None
    try:
        with h5py.File(path, "r") as file:
            return json.loads(file.attrs["progress"])
    except (OSError, KeyError) as error:
        raise InputError(f"{path}: cannot be read ({error}); remove the run's folder and train again") from None


def restore_state(folder, model, optimizer=True):
    """Put the variables of a saved run back into a compiled model of the same recipe.

    Seeds of random layers and the optimiser's moments are among them, so the next step is what it would have been.
    """
    path = Path(folder) / "state.h5"
    with h5py.File(path, "r") as file:
        for kind, variables in _variables(model).items():
            if kind == "optimizer" and not optimizer:
                continue
            if len(file.get(kind, ())) != len(variables):
                raise InputError(f"{path}: holds another model; train into another folder or drop --resume")
            for number, variable in enumerate(variables):
                value = file[f"{kind}/{number}"][...]
                if value.shape != tuple(variable.shape):
                    raise InputError(f"{path}: holds another model; train into another folder or drop --resume")
                variable.assign(value)


def _variables(model):
    optimizer = model.optimizer
    if optimizer is not None and not optimizer.built:
        optimizer.build(model.trainable_variables)
    return {"model": model.variables, "optimizer": [] if optimizer is None else optimizer.variables}


def _as_csv(rows):
    # Keras' CSVLogger knows no stages, and has a row twice where a run was killed before its state was saved.
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


class StopEarly(keras.callbacks.Callback):
    """Stop a stage after so many epochs without a better ``val_loss``, and keep the best weights in ``best.h5``.

    How long a run has waited is read off its history, so that a resumed one stops where it would have stopped; Keras'
    EarlyStopping begins to count anew.

    Parameters
    ----------
    folder : Path
        The run's folder.
    stage : int
        Number of the stage that runs.
    history : list of dict
        As in `RunState`, which must be called after this: a run that is killed between the two makes the epoch again.
    patience : int
        Epochs.
    """

    def __init__(self, folder, stage, history, patience):
        super().__init__()
        self.folder, self.stage, self.history, self.patience = Path(folder), stage, history, patience

    def on_epoch_end(self, epoch, logs=None):
        losses = [*_losses(self.history, self.stage), logs["val_loss"]]
        waited = _waited(losses)
        if waited == 0:
            with (
                averaged_weights(self.model),
                atomic_path(self.folder / "best.h5") as path,
                h5py.File(path, "w") as file,
            ):
                for number, variable in enumerate(self.model.variables):
                    file[str(number)] = keras.ops.convert_to_numpy(variable)
        self.model.stop_training = waited >= self.patience


def stopped_early(history, stage, patience):
    """Whether a stage is over because it waited `patience` epochs for a better loss."""
    losses = _losses(history, stage)
    return bool(losses) and _waited(losses) >= patience


def restore_best(folder, model):
    """Put the weights that `StopEarly` kept into the model."""
    with h5py.File(Path(folder) / "best.h5", "r") as file:
        for number, variable in enumerate(model.variables):
            variable.assign(file[str(number)][...])


def _losses(history, stage):
    return [row["val_loss"] for row in history if row["stage"] == stage]


def _waited(losses):
    """Return how many epochs ago the least of the losses was; one that is not a number is none."""
    return len(losses) - 1 - int(np.argmin(np.where(np.isnan(losses), np.inf, losses)))


class PlainLines(keras.callbacks.Callback):
    """Print a line an epoch with the time left, for output that is no terminal.

    Parameters
    ----------
    stages : list of dict
        The recipe's.
    stage : int
        Number of the stage that runs.
    history : list of dict
        As in `RunState`, which must be called before this.
    """

    def __init__(self, stages, stage, history):
        super().__init__()
        self.stages, self.stage, self.history = stages, stage, history

    def on_epoch_end(self, epoch, logs=None):
        row, stage = self.history[-1], self.stages[self.stage]
        epochs = [row["seconds"] for row in self.history if row["stage"] == self.stage]
        each = sum(epochs) / len(epochs)
        # Later stages are taken to need as much time a step and object as this one.
        objects = each / (stage["steps_per_epoch"] * stage["batch_size"])
        left = (stage["epochs"] - epoch - 1) * each
        for later in self.stages[self.stage + 1 :]:
            left += later["epochs"] * later["steps_per_epoch"] * later["batch_size"] * objects
        spent = sum(row["seconds"] for row in self.history)
        losses = ", ".join(f"{name} {row[name]:.4g}" for name in ("loss", "val_loss") if name in row)
        sys.stdout.write(
            f"{stage['name']} {epoch + 1}/{stage['epochs']}: {losses}; {spent / 3600:.2f} h so far, "
            f"{left / 3600:.2f} h left\n"
        )
        sys.stdout.flush()


@contextlib.contextmanager
def averaged_weights(model):
    """Hold in `model` the averages of its weights while the block runs, where its optimiser keeps such averages.

    The raw weights come back bit for bit (`keras.callbacks.SwapEMAWeights` swaps by adding, which rounds them).
    """
    _swap_averages(model)
    try:
        yield
    finally:
        _swap_averages(model)


def _swap_averages(model):
    # Keras puts the optimiser into another one for the loss scale of float16.
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if not optimizer.use_ema:
        return
    # Frozen variables are not among those that the optimiser was built for.
    for variable, average in zip(
        optimizer._trainable_variables, optimizer._model_variables_moving_average, strict=True
    ):
        raw = np.array(keras.ops.convert_to_numpy(variable))
        variable.assign(average)
        average.assign(raw)


class AveragedValidation(keras.callbacks.Callback):
    """Validate the averaged weights; training goes on with the raw ones."""

    def on_test_begin(self, logs=None):
        _swap_averages(self.model)

    def on_test_end(self, logs=None):
        _swap_averages(self.model)


class Pictures(keras.callbacks.Callback):
    """Draw reconstructions of the same validation stamps every few epochs, into ``pictures/`` of the run.

    Parameters
    ----------
    folder : Path
        The run's folder.
    stage : int
        Number of the stage that runs.
    batch : dict of arrays
        A batch of the validation split.
    draw : callable
        ``draw(model, batch, path)`` makes the picture.
    every : int
        Epochs between pictures.
    """

    def __init__(self, folder, stage, batch, draw, every):
        super().__init__()
        self.folder, self.stage = Path(folder) / "pictures", stage
        self.batch, self.draw, self.every = batch, draw, every

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every == 0 or epoch + 1 == self.params["epochs"]:
            with averaged_weights(self.model):
                self.draw(self.model, self.batch, self.folder / f"stage_{self.stage}_epoch_{epoch + 1:04d}.png")


class StopOnNaN(keras.callbacks.Callback):
    """Stop with a clear error as soon as the loss of an epoch is not a number; the state before it is kept.

    Keras' TerminateOnNaN looks at each batch, for which it waits for the device, and the epoch would be saved.
    """

    def on_epoch_end(self, epoch, logs=None):
        if not np.isfinite((logs or {}).get("loss", 0.0)):
            raise InputError(
                f"the loss is not finite in epoch {epoch + 1}; lower stages.N.learning_rate or set stages.N.clip_norm"
            )
