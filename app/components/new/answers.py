"""Answers of commands that run as jobs."""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any

import streamlit as st

from app import read
from app.components.shared.job_panel import follow
from kmex_core.base import jobs
from kmex_core.base.errors import InputError
from kmex_core.commands.requests import JobRequest


def known_answer(name: str, keys: Set[str]) -> dict[str, Any] | None:
    """What a job has answered; None unless it is done and its answer has all of these keys."""
    try:
        answer = jobs.answer(read.store(), name)
    except InputError:  # no name of a job
        return None
    return answer if answer is not None and answer.keys() >= keys else None


def answer_of(
    request: JobRequest, keys: Set[str], title: str, about: str, show: Callable[[], None] | None = None
) -> dict[str, Any] | None:
    """A job's answer; None while there is none: it is started, and the page shows its progress.

    Args:
        request: the job.
        keys: that its answer must have.
        title, about, show: see `follow`.
    """
    answer = known_answer(request.name, keys)
    if answer is None:
        job = jobs.look(read.store(), request.name)
        if job is not None and job.state == "done":  # of another version, or its log was removed
            st.info("What was found earlier cannot be read any more.")
            if not st.button("Look again", icon=":material/refresh:", key=f"again-{request.name}"):
                return None
        follow(request, title, about, show)
    return answer
