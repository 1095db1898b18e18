"""A verdict on each figure of the paper: whether it is reproduced, how far ours is from it, and why, if known."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

from kmex_core.base.phrases import joined
from kmex_core.metrics.catalogue import METRICS
from kmex_core.models.kinds import MODEL_KINDS
from kmex_core.reproduction.types import Cell, Measured, Outcome, Setting, Verdict

SYMBOLS: dict[Outcome, str] = {"reproduced": "✓", "differs": "≠", "cannot be had": "–"}
WITHIN = 2.0  # standard deviations
PAPER_RUNS = 5
ROUNDING = 0.0005  # half a unit in the last place of the paper's figures: per cent have one decimal, others three
OVER_IMAGES, IMAGES = 4, 1000  # the table whose ± is over images and runs, and how many images each run has
_NOISE = 1e-9  # of floating point

# what is known to be wrong in the paper or its released code: for which figures, and what that is
_DEFECTS: tuple[tuple[Callable[[Cell], bool], str], ...] = (
    (
        lambda cell: cell.table == 5,
        "Eq. 1 as printed gives 1 − 1/K for every model, so how the paper's figure was computed is not published; ours "
        "follows its text",
    ),
    (
        lambda cell: cell.metric == "diversity_reference" and cell.model != "FLINT",  # a dot product has no distance
        "D_dvs as published depends on rounding in 32 bits, which grows with the embedding's distance from its origin",
    ),
    (
        lambda cell: cell.table == 4 and cell.model != "ResNet34",  # the black box has no prototypes
        "PRP maps of the released code do not depend on the prototype; ours do",
    ),
    (
        lambda cell: cell.table == 4 and cell.model != "ResNet34",
        "AD and AI of the released code keep the less relevant half of the pixels and read similarities to the first "
        "class's prototypes; ours keep the more relevant half and read each prototype's own, as the paper says",
    ),
    (
        lambda cell: cell.dataset in ("CIFAR-10", "QuickDraw"),
        "the released code normalises this data set with other constants than its training split's; ours are those of "
        "the training split",
    ),
    (
        lambda cell: cell.dataset == "MNIST" and cell.model.endswith("KMEx"),
        "the released code takes KMEx's prototypes for MNIST from the test split; ours are from the training split",
    ),
)


# ---- numbers --------------------------------------------------------------------------------------------------------


def mean(measured: Measured | None) -> float | None:
    """Over the trainings; None for nothing, and where a value is not finite."""
    if measured is None or not measured.values or not all(map(math.isfinite, measured.values)):
        return None
    return statistics.fmean(measured.values)


def spread(measured: Measured | None) -> float | None:
    """Sample standard deviation over the trainings; None for a single one."""
    if measured is None or mean(measured) is None or len(measured.values) < 2:
        return None
    return statistics.stdev(measured.values)


def deviation(cell: Cell) -> float:
    """Standard deviation that a verdict allows for: that of the paper's and of our trainings, √(paper's² + ours²).

    With a single training it is the paper's; it is never below the rounding of the paper's digits.
    """
    return max(ROUNDING, math.hypot(cell.std, spread(cell.published) or 0.0))


def standard_error(cell: Cell, paper_runs: int = PAPER_RUNS) -> float | None:
    """Standard error of the difference between our mean and the paper's; None without a spread.

    √(paper's²/its runs + ours²/our trainings); a single training's deviation is taken to be the paper's. In Table 4,
    whose ± is over images, that of two means over 1,000 images.
    """
    if cell.published is None:
        return None
    if cell.table == OVER_IMAGES:
        ours = cell.published.over_images
        ours = cell.std if ours is None or not math.isfinite(ours) else ours
        return math.hypot(cell.std, ours) / math.sqrt(IMAGES) or None
    ours = spread(cell.published)
    own = cell.std if ours is None else ours / math.sqrt(len(cell.published.values))
    return math.hypot(cell.std / math.sqrt(max(1, paper_runs)), own) or None


def chance_as_well(cell: Cell) -> list[tuple[str, float]]:
    """The chance levels as near to the paper's figure as a reproduction has to be."""
    levels = cell.published.chance if cell.published is not None else ()
    return [(name, value) for name, value in levels if _is_within(value - cell.mean, cell)]


def _is_within(difference: float, cell: Cell) -> bool:
    return abs(difference) <= WITHIN * deviation(cell) + _NOISE  # false for NaN


# ---- verdicts -------------------------------------------------------------------------------------------------------


def verdict(cell: Cell, setting: Setting | None = None) -> Verdict:
    """Whether a figure is reproduced: our mean is within two standard deviations of the paper's, see `deviation`.

    Args:
        cell: the figure, and what was measured for it.
        setting: how the model was trained, see `setting_of`.
    """
    ours = mean(cell.published)
    if cell.missing or cell.published is None or ours is None:
        nothing = "Nothing was measured for it." if cell.published is None else "The measurement gave no number."
        return Verdict("cannot be had", None, cell.missing or nothing)
    difference = ours - cell.mean
    outcome: Outcome = "reproduced" if _is_within(difference, cell) else "differs"
    error = standard_error(cell, setting.paper_runs if setting else PAPER_RUNS)
    errors = None if error is None else difference / error
    sentences = [_compared(cell, cell.published, difference), *_caveats(cell, cell.published, errors)]
    if outcome == "reproduced":
        if levels := chance_as_well(cell):
            named = joined("and", [f"{name} ({shown(cell.metric, value)})" for name, value in levels])
            sentences.append(f"Chance would give it as well: {named}.")
        sentences += [f"Less than in the paper: {'; '.join(cell.short)}."] if cell.short else []
    else:
        sentences += _explained(cell, setting)
    return Verdict(outcome, errors, " ".join(sentences))


def setting_of(cell: Cell, settings: Sequence[Setting]) -> Setting | None:
    """How the model of a figure was trained; None where it was not."""
    for setting in settings:
        kind = MODEL_KINDS.get(setting.kind)
        if kind is not None and setting.dataset == cell.dataset and cell.model in kind.paper:
            return setting
    return None


def causes(cell: Cell, setting: Setting | None = None) -> list[str]:
    """What is known to differ from the paper and can be why a figure does, as phrases; none where nothing is known.

    What is less here does not explain an accuracy above the paper's.
    """
    short = () if _is_better_accuracy(cell) else cell.short
    notes = setting.notes if setting else ()
    known = [*short, *notes, *(what for applies, what in _DEFECTS if applies(cell))]
    return [phrase.strip().rstrip(".") for phrase in known if phrase.strip()]


def _is_better_accuracy(cell: Cell) -> bool:
    ours = mean(cell.published)
    return cell.metric == "accuracy" and ours is not None and ours > cell.mean


def _compared(cell: Cell, measured: Measured, difference: float) -> str:
    allowed = amount(cell.metric, WITHIN * deviation(cell))
    place = "within" if _is_within(difference, cell) else "more than"
    side = "above" if difference > 0 else "below"
    where = f"{amount(cell.metric, difference)} {side} the paper's" if difference else "equal to the paper's"
    return f"Ours, {our_figure(measured)}, is {where} {paper_figure(cell)}: {place} 2 standard deviations ({allowed})."


def _caveats(cell: Cell, measured: Measured, errors: float | None) -> list[str]:
    """What a verdict does not say."""
    sentences = []
    one = len(measured.values) == 1
    if math.hypot(cell.std, spread(measured) or 0.0) < ROUNDING:
        of = "One training has no spread, and the paper's is" if one else "Both spreads are"
        sentences.append(f"{of} 0 in the digits it prints: the deviation is half a unit in the last of them.")
    elif one:
        sentences.append("One training has no spread: the deviation is the paper's alone.")
    if cell.table == OVER_IMAGES:
        weak = "The paper's ± is over images and runs, so a verdict by it is weak"
        if errors is not None:
            than = "more than" if abs(errors) > WITHIN else "no more than"
            weak += (
                f"; in standard errors over {IMAGES:,} images the difference is {abs(errors):.1f}, {than} the choice "
                "of images gives"
            )
        sentences.append(f"{weak}.")
    return sentences


def _explained(cell: Cell, setting: Setting | None) -> list[str]:
    sentences, known = [], causes(cell, setting)
    if cell.short and _is_better_accuracy(cell):
        sentences.append(f"Less than in the paper, which does not raise an accuracy: {'; '.join(cell.short)}.")
    if not known:
        return [*sentences, "Nothing that is known explains it."]
    if len(known) == 1:
        return [*sentences, f"A known difference, which can be the cause: {known[0]}."]
    listed = "; ".join(f"({number}) {phrase}" for number, phrase in enumerate(known, start=1))
    return [*sentences, f"Known differences, any of which can be the cause: {listed}."]


# ---- figures in words -----------------------------------------------------------------------------------------------


def paper_figure(cell: Cell) -> str:
    """The paper's figure with its ±, as the product shows figures: shares in per cent."""
    return _with_spread(cell.metric, cell.mean, cell.std, 1, 3)


def our_figure(measured: Measured | None) -> str:
    """Our mean, with ± over trainings where there are several; "–" for none."""
    ours = mean(measured)
    if measured is None or ours is None:
        return "–"
    return _with_spread(measured.metric, ours, spread(measured), 2, 3)


def shown(metric: str, value: float) -> str:
    """A value with its unit."""
    return _with_spread(metric, value, None, 2, 3)


def amount(metric: str, difference: float) -> str:
    """The size of a difference: of shares in percentage points."""
    kind = METRICS[metric]
    if kind.unit == "share":
        return f"{abs(difference) * 100:.2f} points"
    return f"{abs(difference):.3f} {kind.unit}".strip()


def _with_spread(metric: str, value: float, std: float | None, of_share: int, of_others: int) -> str:
    kind = METRICS[metric]
    is_share = kind.unit == "share"
    scale, digits = (100, of_share) if is_share else (1, of_others)
    number = f"{value * scale:.{digits}f}".replace("-", "−") + ("" if std is None else f" ± {std * scale:.{digits}f}")
    return f"{number}%" if is_share else f"{number} {kind.unit}".strip()
