"""The draft that the page New is about, and its steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from app import read
from app.components.shared.messages import show_error
from app.links import pick, picked, refuse
from kmex_core.base.errors import KMExError
from kmex_core.stages import drafts
from kmex_core.stages.drafts import Draft

STEPS = {"images": "Images", "model": "Model", "check": "Check"}
_OPEN = "_draft"  # in the session: the draft that was open last


@dataclass(frozen=True)
class OpenDraft:
    """A draft and what names it in the store and in the address."""

    name: str
    draft: Draft

    def key(self, field: str) -> str:
        """The key of a widget of this draft."""
        return f"new-{self.name}-{field}"

    def change(self, **values: Any) -> bool:
        """Keep what was entered; False with a message where it cannot be kept. For callbacks, and before `st.rerun`."""
        try:
            drafts.change(read.store(), self.name, **values)
        except KMExError as error:
            show_error(str(error))
            return False
        return True

    def follow_field(self, field: str, **others: Any) -> Callable[[], None]:
        """For the `on_change` of a widget with `key(field)`: keep what it shows, and reset `others`."""

        def keep() -> None:
            value = st.session_state[self.key(field)]
            self.change(**{field: "" if value is None else value, **others})

        st.session_state[self.key(field)] = getattr(self.draft, field)  # another tab may have changed it
        return keep


def open_draft() -> OpenDraft:
    """The draft that the address names, else the one that was open last in this session, else a new one."""
    name = picked("draft")
    if name and not drafts.is_id(name):
        refuse("draft", name, "A new one begins here.")
        name = drafts.new_id()
    name = name or st.session_state.get(_OPEN) or drafts.new_id()
    st.session_state[_OPEN] = name
    pick("draft", name)
    return OpenDraft(name, drafts.read(read.store(), name) or Draft())


def begin_anew() -> None:
    """Leave this draft as it is, and begin another one: for a callback."""
    st.session_state[_OPEN] = drafts.new_id()
    pick("draft", st.session_state[_OPEN])
    pick("step", "")


def choose_step(opened: OpenDraft) -> str:
    """Show the steps; the one that is open, a key of `STEPS`."""
    draft = opened.draft
    reachable = {"images": True, "model": bool(draft.images), "check": bool(draft.images and draft.model)}
    step = picked("step")
    if step not in STEPS or not reachable[step]:
        step = "images"
    with st.container(horizontal=True, key="new-steps"):
        for number, (name, title) in enumerate(STEPS.items(), start=1):
            st.button(
                f"{number} {title}",
                key=f"step-{name}",
                type="primary" if name == step else "secondary",
                disabled=not reachable[name],
                help=None if reachable[name] else "Finish the step before this one first.",
                on_click=pick,
                args=("step", name),
            )
        if draft != Draft():
            st.button(
                "Start over",
                key="new-again",
                icon=":material/restart_alt:",
                type="tertiary",
                on_click=begin_anew,
                help="Begins another model. This one stays under its address for a month.",
            )
    return step


def go_on(step: str, label: str) -> None:
    """Show the button that opens a step."""
    st.button(
        label,
        key=f"go-{step}",
        type="primary",
        icon=":material/arrow_forward:",
        on_click=pick,
        args=("step", step),
    )
