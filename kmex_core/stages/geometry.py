"""The metric of a model's embedding: fitted, tried against Euclidean on held-out images, and stored."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from kmex_core import metrics
from kmex_core.base.artifact import Artifact
from kmex_core.base.devices import checked_device
from kmex_core.base.files import Arrays
from kmex_core.base.specs import GeometrySpec
from kmex_core.prototypes.metric import AUTO, EUCLIDEAN, WHITENED, EmbeddingMetric, fit_metric, separation
from kmex_core.prototypes.metric_choice import Trial, agreed, right_in, trial, trials_on_halves
from kmex_core.prototypes.probe import linear_probe
from kmex_core.stages.bound import Bound
from kmex_core.stages.embedding import Embedded


@dataclass(frozen=True, eq=False)
class Geometry:
    """A model's embedding and the metric for its prototypes.

    Attributes:
        whitened: the whitened metric of the training split.
        trials: `metric_choice.Trial`s on held-out images: one on the validation split, or one on each half of the test
            split.
        choice: what "auto" stands for.
        validation: whether the trials are on the validation split.
        separation: within-to-between-class variance of the training embedding (lower is more separated).
        probe, probe_interval: accuracy of the linear probe on the test split, and its 95% Wilson interval.
        accuracy: of KMEx at `metric_choice.K` prototypes per class on the test split, by metric; and the black box's.
    """

    whitened: EmbeddingMetric
    trials: tuple[Trial, ...]
    choice: str
    validation: bool
    separation: float
    probe: float
    probe_interval: tuple[float, float]
    accuracy: dict[str, float]

    def metric(self, name: str) -> EmbeddingMetric:
        """The whitened or the Euclidean metric, or for "auto" the one that was chosen."""
        return self.whitened if (self.choice if name == AUTO else name) == WHITENED else EmbeddingMetric()


class ModelGeometry(Artifact[GeometrySpec, Geometry]):
    """See `Geometry`.

    Args:
        bound: the model and its data.
        embedded: the embeddings of its splits.
    """

    room = "geometry"

    def __init__(self, bound: Bound, embedded: Embedded) -> None:
        super().__init__(bound.store, bound.progress)
        self._bound, self._embedded = bound, embedded

    @cached_property
    def spec(self) -> GeometrySpec:
        return GeometrySpec(self._embedded.train.key, (self._embedded.validation or self._embedded.test).key)

    def make(self) -> Geometry:
        """Fit and try the metrics.

        Raises:
            InputError: see `fit_prototypes` and `extraction.extract`.
        """
        validation = self._embedded.validation
        train, test = self._bound.read(self._embedded.train), self._bound.read(self._embedded.test)
        names, device = self._bound.info.class_names, checked_device(self._bound.device)
        fitted = {name: fit_metric(name, train.z, train.labels) for name in (EUCLIDEAN, WHITENED)}
        splits = {"test": test} | ({} if validation is None else {"validation": self._bound.read(validation)})
        right = {
            name: right_in(metric, train, list(splits.values()), names, device, self.progress)
            for name, metric in fitted.items()
        }
        both = [right[name][-1] for name in (EUCLIDEAN, WHITENED)]
        trials = (
            (trial(both[0], both[1]),) if validation is not None else trials_on_halves(both[0], both[1], test.labels)
        )
        probed = linear_probe(train.z, train.labels, test.z)
        probe = metrics.accuracy(probed, test.labels)
        black_box = metrics.black_box_accuracy(test.black_box, test.labels)
        return Geometry(
            whitened=fitted[WHITENED],
            trials=trials,
            choice=agreed(trials),
            validation=validation is not None,
            separation=separation(train.z, train.labels),
            probe=probe,
            probe_interval=metrics.wilson_interval(probe, len(test)),
            accuracy={name: float(np.mean(rows[0])) for name, rows in right.items()}
            | ({} if black_box is None else {"black_box": black_box}),
        )

    def metric(self, name: str) -> EmbeddingMetric:
        """The metric of this name (see `metric.OPTIONS`), fitted on the training embedding.

        Raises:
            InputError: for an unknown name.
        """
        if name == EUCLIDEAN:
            return EmbeddingMetric()
        if name in (AUTO, WHITENED):  # fitted already, or of use to others
            return self._bound.read(self).metric(name)
        train = self._bound.read(self._embedded.train)
        return fit_metric(name, train.z, train.labels)

    def pack(self, result: Geometry) -> tuple[Arrays, dict[str, Any]]:
        return result.whitened.to_arrays(), {
            "whitened": result.whitened.to_description(),
            "trials": [asdict(one) for one in result.trials],
            "measured": {
                name: getattr(result, name)
                for name in ("choice", "validation", "separation", "probe", "probe_interval", "accuracy")
            },
            "model": self._bound.info.name,
        }

    @classmethod
    def unpack(cls, arrays: Arrays, description: dict[str, Any]) -> Geometry:
        measured = dict(description["measured"])
        low, high = measured.pop("probe_interval")
        return Geometry(
            whitened=EmbeddingMetric.from_arrays(arrays, **description["whitened"]),
            trials=tuple(Trial(**one) for one in description["trials"]),
            probe_interval=(low, high),
            **measured,
        )
