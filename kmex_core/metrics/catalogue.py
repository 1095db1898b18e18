"""Every metric by name, collected from the files in `metrics.kinds`."""

from __future__ import annotations

import importlib
import pkgutil

from kmex_core.base.registry import Registry
from kmex_core.metrics import kinds
from kmex_core.metrics.metric import DIVERSITY, GROUPS, MAPS, PREDICTIONS, SHARE, TRANSPARENCY, Metric

__all__ = ["DIVERSITY", "MAPS", "METRICS", "PREDICTIONS", "SHARE", "TRANSPARENCY", "Metric"]


def _collected() -> Registry[Metric]:
    """The metrics by group and place."""
    registry: Registry[Metric] = Registry("metric")
    names = (file.name for file in pkgutil.iter_modules(kinds.__path__))
    modules = [importlib.import_module(f"{kinds.__name__}.{name}") for name in names]
    metrics = [
        entry()
        for module in modules
        for entry in vars(module).values()
        if isinstance(entry, type) and issubclass(entry, Metric) and entry.__module__ == module.__name__
    ]
    for metric in sorted(metrics, key=lambda metric: (GROUPS.index(metric.group), metric.place)):
        registry.register(metric.name, metric)
    return registry


METRICS = _collected()
MAP_METRICS = tuple(name for name, metric in METRICS.items() if metric.maps)  # those on relevance maps
