"""Step 3 of the page New: whether all fits together, what helps, and converting."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from app.claims import new_model as claims
from app.components.new.convert import show_converting
from app.components.new.decision import decision_of
from app.components.new.draft import OpenDraft
from app.components.new.images import report_of
from app.components.new.pictures import show_pictures
from app.components.new.preprocessing import BY_HAND
from app.components.shared.figure import show_figure
from app.figures.evaluation import confusion_figure
from app.wording import message
from kmex_core.analysis.tables.evaluation import confusion_table
from kmex_core.base.plain_text import markdown
from kmex_core.data.preprocessing import Preprocessing
from kmex_core.stages.new_model import names_of_outputs

MOST_CLASSES = 30  # whose confusion matrix is legible


def show_check(opened: OpenDraft) -> None:
    """Show step 3."""
    report = report_of(opened)
    if report is None:
        return
    if report["unreadable"] and not opened.draft.skip_broken:
        st.warning("Some pictures cannot be decoded. Go back to step 1 and decide whether to leave them out.")
        return
    decision = decision_of(opened, report)
    if decision is None:
        return
    check, classes = decision["check"], decision["class_names"]
    st.header("Does it fit together?")
    verdict = claims.check_verdict(check, len(classes))
    if check is not None and check["at_chance"]:
        st.warning(verdict, icon=":material/warning:")
    else:
        st.success(verdict, icon=":material/check_circle:") if check is not None else st.info(verdict)
    for step in decision["steps"]:
        if step["warning"] and step["title"] != "Check":
            st.warning(f"**{step['title']}:** {message(step['text'])}", icon=":material/warning:")
    if check is not None:
        _offer_repairs(opened, check, decision)
    show_pictures(opened, report, decision)
    if check is not None:
        _show_confusion(check, classes)
    st.header("Convert")
    st.markdown(claims.cost(decision))
    show_converting(opened)


def _offer_repairs(opened: OpenDraft, check: dict[str, Any], decision: dict[str, Any]) -> None:
    """The usual mistakes that the check found, each with a button that mends it."""
    order = check["reordered"]["class_outputs"]
    if order:
        names = names_of_outputs(decision["class_names"], order, decision["head"]["outputs"])
        st.markdown(
            f"With the outputs in another order, {check['reordered']['accuracy']:.1%} are correct, of the images that "
            "the order was not found on: " + ", ".join(markdown(name) for name in names[:12]) + "."
        )
        if st.button("Use this order of classes", icon=":material/swap_vert:") and opened.change(
            classes=tuple(names), encoder=False
        ):
            st.rerun()
    for number, better in enumerate(check["better"]):
        st.markdown(f"With {markdown(better['words'])}, {better['accuracy']:.1%} are correct.")
        if st.button("Use this preprocessing", icon=":material/tune:", key=f"better-{number}") and opened.change(
            preprocess=BY_HAND, preprocessing=Preprocessing.from_description(better["preprocessing"])
        ):
            st.rerun()
    if check["at_chance"] and not order and not check["better"]:
        st.markdown(
            "Neither another order of the classes nor the usual other preprocessings help. Is the network trained on "
            "these classes? If not, use only its encoder (step 2)."
        )


def _show_confusion(check: dict[str, Any], classes: list[str]) -> None:
    st.subheader("Confusion matrix", help="Held-out images by true class (row) and predicted class (column).")
    st.caption(f"{claims.most_confused(check, classes)} Only mistakes are coloured.")
    if len(classes) <= MOST_CLASSES:
        table = confusion_table(claims.confusion(check, len(classes)), tuple(classes))
        show_figure("new-confusion", confusion_figure(table), "Confusion matrix of the network on held-out images")
        return
    mistakes = sorted((entry for entry in check["confusion"] if entry[0] != entry[1]), key=lambda entry: -entry[2])
    st.dataframe(
        pd.DataFrame(
            [
                {"Class": classes[label], "Taken for": classes[predicted], "Images": count}
                for label, predicted, count in mistakes
            ]
        ),
        hide_index=True,
        alt="The network's mistakes on held-out images, the most frequent first",
    )
