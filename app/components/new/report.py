"""What is in the images, before anything is computed from them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import streamlit as st

from app import read
from app.access import dataset_to_open
from app.claims import new_model as claims
from app.components.new.draft import OpenDraft
from app.components.shared.gallery import Card, Group, show_groups
from app.components.shared.messages import show_error
from app.routes.pictures import folder_of_draft
from app.wording import message
from kmex_core.base import jobs
from kmex_core.base.errors import KMExError
from kmex_core.commands.datasets import report_job
from kmex_core.data.colours import class_colours
from kmex_core.data.dataset import ImageDataset
from kmex_core.data.opened import dataset

CLASSES = 20  # whose thumbnails are shown
ROWS = 10  # of the table of classes without scrolling


def show_report(opened: OpenDraft, report: dict[str, Any]) -> None:
    """Show the report on a draft's images, and what can be decided about them.

    Args:
        opened: the draft.
        report: `data.report.DatasetReport` as the command gives it.
    """
    st.header("What was found")
    st.markdown(claims.images_found(report))
    facts = [report["read_as"], *report["notes"][bool(report["unreadable"]) :]]  # the first is shown with what to do
    facts += [claims.sizes(report), claims.copies(report), claims.balance(report)]
    st.markdown("\n".join(f"- {message(fact)}" for fact in facts if fact))
    _show_unreadable(opened, report)
    _show_classes(report)
    _show_thumbnails(opened, report)
    _offer_reading(opened, report)


def _show_unreadable(opened: OpenDraft, report: dict[str, Any]) -> None:
    broken = report["unreadable"]
    if not broken:
        return
    count = broken["count"]
    names = ", ".join(broken["names"])
    st.warning(
        message(
            f"{count:,} {'picture' if count == 1 else 'pictures'} cannot be decoded: {names}"
            f"{' …' if count > len(broken['names']) else ''}."
        ),
        icon=":material/broken_image:",
    )
    keep = opened.follow_field("skip_broken")
    st.toggle(
        f"Leave {'it' if count == 1 else 'them'} out",
        key=opened.key("skip_broken"),
        on_change=keep,
        help="Without this you can repair or remove the files, and read the images again.",
    )


def _show_classes(report: dict[str, Any]) -> None:
    splits = list(report["images"])
    table = pd.DataFrame(
        [
            {"Class": entry["name"], **{split.capitalize(): entry["images"].get(split, 0) for split in splits}}
            for entry in report["classes"]
        ]
    )
    most = max(int(table[split.capitalize()].max()) for split in splits)
    st.dataframe(
        table,
        hide_index=True,
        height="content" if len(table) <= ROWS else 35 * (ROWS + 1) + 3,
        alt="The number of images of each class by split",
        column_config={
            split.capitalize(): st.column_config.ProgressColumn(format="localized", min_value=0, max_value=most)
            for split in splits
        },
    )


def _show_thumbnails(opened: OpenDraft, report: dict[str, Any]) -> None:
    data = open_images(opened, report)
    if data is None:
        return
    spec = replace(opened.draft.spec, skip_broken=bool(report["unreadable"]))
    colours = class_colours(len(report["classes"]))
    groups = [
        Group(
            [
                Card(str(row), f"train/{row}", f"Training image {row} of {entry['name']}", f"{row:,}")
                for row in entry["thumbnails"]
            ],
            entry["name"],
            f"{entry['images']['train']:,} training images",
            colours[label],
        )
        for label, entry in enumerate(report["classes"][:CLASSES])
    ]
    if len(report["classes"]) > CLASSES:
        st.caption(f"First {CLASSES} of {len(report['classes']):,} classes.")
    show_groups("new-thumbnails", folder_of_draft(opened.name, spec, data.fingerprint), report["image_size"], groups)


def open_images(opened: OpenDraft, report: dict[str, Any]) -> ImageDataset | None:
    """A draft's images, which were read before; None with a message if they are not those of the report."""
    draft = opened.draft
    try:
        spec = replace(draft.spec, name=dataset_to_open(draft.images), skip_broken=bool(report["unreadable"]))
        with st.spinner("Opening the images …"):
            data = dataset(spec)
    except KMExError as error:
        show_error(str(error))
        return None
    if data.fingerprint != report["fingerprint"]:
        st.warning("The images have changed since they were read. Read them again.", icon=":material/update:")
        return None
    return data


def _offer_reading(opened: OpenDraft, report: dict[str, Any]) -> None:
    """The columns that are read, and reading again."""
    draft = opened.draft
    with (
        st.expander("Read them in another way", icon=":material/tune:", expanded=False),
        st.form(opened.key("reading"), border=False),
    ):
        left, right = st.columns(2)
        column = left.text_input(
            "Class column",
            draft.class_column,
            max_chars=200,
            placeholder=report["class_column"] or "The folders' names",
            help="A column or attribute of the table to take as the class. folder:1 and folder:2 take the first or the "
            "second folder of each picture's path.",
        )
        image = right.text_input(
            "Image column",
            draft.image_column,
            max_chars=200,
            placeholder="Found by type and name",
            help="The column that has the images or names their files.",
        )
        if st.form_submit_button("Read again", icon=":material/refresh:") and opened.change(
            class_column=column.strip(), image_column=image.strip(), decision="", classes=()
        ):
            changed = replace(draft.spec, class_column=column.strip(), image_column=image.strip(), skip_broken=False)
            request = report_job(replace(changed, name=dataset_to_open(draft.images)))
            jobs.start(read.store(), request.name, request.arguments)
            st.rerun()
