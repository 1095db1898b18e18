"""Every metric by name, collected from the files in `metrics.kinds`."""

from __future__ import annotations

from kmex_core.base.registry import Registry, subclasses
from kmex_core.metrics import kinds
from kmex_core.metrics.metric import DIVERSITY, GROUPS, MAPS, PREDICTIONS, SHARE, TRANSPARENCY, Metric

__all__ = ["DIVERSITY", "MAPS", "METRICS", "PREDICTIONS", "SHARE", "TRANSPARENCY", "Metric"]


def _place(metric: Metric) -> tuple[int, int]:
    return GROUPS.index(metric.group), metric.place


_KINDS = subclasses(kinds.__name__, Metric)  # type: ignore[type-abstract]  # the subclasses are concrete
METRICS: Registry[Metric] = Registry(
    "metric", ((metric.name, metric) for metric in sorted((kind() for kind in _KINDS), key=_place))
)
MAP_METRICS = tuple(name for name, metric in METRICS.items() if metric.maps)  # those on relevance maps
