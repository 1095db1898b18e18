"""Which pixels a similarity or a prediction comes from: PRP and LRP, and gradients where LRP has no rules."""

from kmex_core.relevance.explain import METHODS, class_maps, explain, pair_maps
from kmex_core.relevance.gradients import integrated_gradients
from kmex_core.relevance.lrp import LRP, LRP_COPIES, class_relevance, has_rules, lrp_of, no_rules
from kmex_core.relevance.prp import prediction_relevance, similarity_relevance

__all__ = [
    "LRP",
    "LRP_COPIES",
    "METHODS",
    "class_maps",
    "class_relevance",
    "explain",
    "has_rules",
    "integrated_gradients",
    "lrp_of",
    "no_rules",
    "pair_maps",
    "prediction_relevance",
    "similarity_relevance",
]
