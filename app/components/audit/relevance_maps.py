"""Trustworthiness of the relevance maps: the metrics on them, image by image."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from app import claims, read
from app.claims import audit
from app.components.audit.headline import show_headline
from app.components.audit.map_checks import show_map_checks
from app.components.audit.numbers import show_numbers
from app.components.shared.downloads import show_download
from app.components.shared.figure import show_figure
from app.components.shared.relevance import choose_maps, show_figures, show_look
from app.components.shared.relevance_scores import choose_images, measure
from app.figures.evaluation import distribution_figure, ordering_figure
from app.figures.overlay import ground, mapped, plain
from app.links import bound_switch, bound_to
from app.selection import Selection
from app.state import query
from kmex_core.analysis.tables.evaluation import ordering_table, scores_table
from kmex_core.base.plain_text import markdown
from kmex_core.metrics.catalogue import MAPS, METRICS
from kmex_core.metrics.types import Evaluation, MapScores
from kmex_core.relevance.catalogue import METHODS, MapKind

SHOWN = 3
BY = {"divergence": "faithfulness", "drop": "average_drop"}


def show_relevance_maps(chosen: Selection) -> Evaluation:
    """Show what relevance maps are worth, or the button that measures them; the evaluation that is shown."""
    place = st.container()
    with st.container(horizontal=True):
        images, maps = choose_images(chosen.model), choose_maps(chosen.model)
    seeds = [chosen.kmeans.seed]
    measured = measure(chosen, images, maps=maps)
    evaluation = read.evaluation(chosen, seeds, images if measured else 0, maps if measured else None)
    question = "Do the relevance maps show what the prediction depends on?"
    with place:
        if not measured:
            show_headline(MAPS, f"{question} Not measured yet.")
        else:
            title = chosen.title
            show_headline(MAPS, question, audit.faithful_maps(evaluation, title), audit.robust_maps(evaluation, title))
    scores = read.scores(chosen, images, seeds[0], maps) if measured else None
    if scores is not None:
        _show_scores(chosen, evaluation, scores, maps)
    show_map_checks(chosen, images)
    return evaluation


def _show_scores(chosen: Selection, evaluation: Evaluation, scores: MapScores, maps: MapKind) -> None:
    """Show the numbers, the curves of relevance ordering, how scores spread over images, and the best and worst."""
    labels = read.dataset(chosen.model).split("test").labels[scores.images]
    table = scores_table(scores, labels, chosen.model.class_names)
    with st.expander("Numbers", icon=":material/tag:"):
        show_numbers(evaluation, MAPS)
        described = METHODS[maps.method]
        conserving = f"; {scores.conserving:.1%} of the relevance maps add up to it" if described.conserves else ""
        st.caption(f"{maps.title} on {len(scores):,} test images{conserving}.")
        if not chosen.is_kmex and (beside := read.reference(chosen.model)):
            st.caption(
                f"Reference for its relevance maps: **{markdown(beside)}**, a black box trained on the same data."
            )
    with st.expander("Relevance ordering", icon=":material/show_chart:"):
        _show_ordering(chosen, scores)
    with st.expander("Distribution over images", icon=":material/bar_chart:"):
        _show_distributions(chosen, table)
    if "extreme" in st.query_params:
        st.session_state.setdefault("extremes", True)
    section = st.expander(
        "Best and worst images",
        icon=":material/image_search:",
        key="extremes",
        on_change="rerun",
        bind=bound_switch("extremes", False),
    )
    if section.open:  # their maps take seconds
        with section:
            _show_extremes(chosen, table, maps)


def _show_ordering(chosen: Selection, scores: MapScores) -> None:
    """Show the curves of relevance ordering with what to make of them."""
    table = ordering_table(scores)
    titles = ("KMEx", "Black box") if chosen.has_black_box else (chosen.title,)
    verdicts = [
        claims.ordering(table[name].to_numpy(), table[f"{name}_random"].to_numpy(), title)
        for name, title in zip(("kmex", "black_box"), titles, strict=False)
    ]
    show_figure("ordering", ordering_figure(table, titles), "Probability of the predicted class as pixels are added")
    st.caption(
        "Pixels are added to an empty image, most relevant first. The curve is the probability of the predicted class; "
        "dashed lines use random order. " + ("The axes differ. " if len(titles) > 1 else "") + " ".join(verdicts)
    )
    show_download("Curves as CSV", table, f"{chosen.model.name}-ordering.csv")


def _show_distributions(chosen: Selection, table: pd.DataFrame) -> None:
    """Show the distribution of the scores over images."""
    st.caption("The numbers above are the means of these values.")
    names = ("KMEx", "Black box") if chosen.is_kmex else ("Built-in prototypes", "Prediction")

    def by_model(name: str) -> dict[str, np.ndarray]:
        columns = [column for column in (name, f"{name}_black_box") if column in table]
        return {title: table[column].to_numpy() for title, column in zip(names, columns, strict=False)}

    figures = {
        "drop": distribution_figure(by_model("drop"), "Average drop (share of the score)", 1.0),
        "increase": distribution_figure(by_model("increase"), "Average increase (share of prototypes)", 1.0, 5),
    }
    if chosen.has_black_box:
        divergence = {"KMEx": table["divergence"].to_numpy()}
        figures["divergence"] = distribution_figure(divergence, "Divergence of relevance maps (nats)", None)
    for place, (name, figure) in zip(st.columns(len(figures), gap="medium"), figures.items(), strict=True):
        with place:
            show_figure(f"spread-{name}", figure, f"Distribution of {name} over images")
    show_download("Scores per image as CSV", table, f"{chosen.model.name}-map-scores.csv")


def _show_extremes(chosen: Selection, table: pd.DataFrame, maps: MapKind) -> None:
    """Show the images with the best and the worst score, with their relevance maps."""
    info = chosen.model
    names = (
        list(BY) if chosen.has_black_box else ["drop"]
    )  # without a black box, there are no other maps to differ from
    titles = {name: METRICS[BY[name]].title for name in names}
    by = st.segmented_control(
        "Best and worst images by",
        names,
        format_func=titles.__getitem__,
        default=names[0],
        required=True,
        key="extreme",
        help="Lower is better.",
        bind=bound_to("extreme", titles, names[0]),
    )
    rows = table[table[by].notna()].sort_values(by, kind="stable")
    if rows.empty:
        st.info("No image has a score.")
        return
    few = min(SHOWN, len(rows) // 2) or 1
    picked = pd.concat([rows.head(few), rows.tail(few)[::-1]]).drop_duplicates("image")
    converted = read.conversion(chosen)
    predicted = converted.test_black_box if info.predicts else converted.test_predicted
    images = picked["image"].tolist()
    kmex_maps, black_box_maps = read.class_maps(chosen, images, predicted[images].tolist(), maps)
    test = read.dataset(info).split("test")
    kind = METRICS[BY[by]]
    show_look("look")
    for column, (title, place) in enumerate(zip(("Best", "Worst"), st.columns(2, gap="medium"), strict=True)):
        with place.container(border=True):
            st.markdown(f"**{title}**")
            for row in range(column * few, min((column + 1) * few, len(picked))):
                scored = picked.iloc[row]
                image = int(scored["image"])
                name = info.class_names[predicted[image]]
                title = f"Test image {image:,}, {markdown(scored['class'])}: {kind.with_unit(scored[by])}"
                st.page_link(
                    "views/explain.py",
                    label=title,
                    icon=":material/image_search:",
                    query_params=query(source="Test image", image=image),
                )
                picture = ground(test.image(image), info.preprocessing)
                figures = [plain(picture, "Image", f"Image, test image {image}")]
                shown = [(chosen.title, kmex_maps)]
                if chosen.has_black_box and black_box_maps is not None:
                    shown.append(("Black box", black_box_maps))
                for model, of_model in shown:
                    caption = f"{model}: relevance for {name}"
                    figures.append(mapped(picture, of_model, row, caption, f"{caption}, test image {image}"))
                show_figures(f"extreme-{image}", figures, 3)
    if by == "drop":
        st.caption(
            "The drop is the mean over the prototypes of the image's class; the relevance map is that of the "
            f"{'black box' if info.predicts else chosen.title}'s predicted class."
        )
