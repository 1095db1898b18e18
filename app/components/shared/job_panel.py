"""Jobs in the background: progress, end, and errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import streamlit as st

from app import read
from app.components.shared.messages import show_error
from app.wording import MEANWHILE, message, short
from kmex_core.base import jobs
from kmex_core.base.jobs import Job
from kmex_core.base.plain_text import markdown, without_colours
from kmex_core.base.store import read_only
from kmex_core.commands.requests import JobRequest

EVERY = 1.0


def follow(
    request: JobRequest, title: str, about: str, show: Callable[[], None] | None = None, key: str | None = None
) -> None:
    """Start a job, and show its progress until it is done; then the whole page runs again.

    It survives reloads and other pages. Once stopped or failed it waits for a button. On a read-only server it is not
    started: the page shows the command that whoever runs the server can run.

    Args:
        request: the job.
        title, about: what it does (a text), and for how long (Markdown).
        show: called at every refresh, to show the results so far.
        key: names the panel, so that it takes the same room as what follows it.
    """
    if read_only():
        with st.container(border=True, key=key):
            show_command(request, "This result is not in the store, and the server is read-only.")
        if show is not None:
            show()
        return
    if can_start(request):  # also when it is done, and yet its result is missing: that was removed
        jobs.start(read.store(), request.name, request.arguments)
    watch(request, f"**{message(title)}** {about}", show, key)


def can_start(request: JobRequest) -> bool:
    """Whether the job was never started, or has ended well: one that failed or was stopped waits for a button."""
    job = jobs.look(read.store(), request.name)
    return job is None or job.state == "done"


def offer(
    request: JobRequest, label: str, title: str, about: str, kind: Literal["primary", "secondary"] = "secondary"
) -> None:
    """Show a button that starts a job, or the job's progress.

    Args:
        request: the job.
        label, about: of the button (texts): what it does, and for how long.
        title: of the job, see `follow`.
        kind: of the button.
    """
    place = st.empty()
    if not read_only() and can_start(request):
        icon = ":material/play_arrow:"
        if not place.button(label, icon=icon, type=kind, key=f"offer-{request.name}", help=about):
            return
    with place.container():  # in place of the button: what follows must not move while it is pressed
        follow(request, title, MEANWHILE)


def show_command(request: JobRequest, why: str) -> None:
    """Show what to run on the command line, and why."""
    st.info(f"{why} The server's operator can compute it on the command line:", icon=":material/lock:")
    st.code(request.command, language=None, wrap_lines=True)


def watch(
    request: JobRequest,
    words: str,
    show: Callable[[], None] | None = None,
    key: str | None = None,
    dismiss: bool = False,
) -> None:
    """Show the progress of a job that was started before; when it is done, the whole page runs again.

    Args:
        request: the job, as it is started again once it has stopped or failed.
        words: what it does, in Markdown.
        show, key: see `follow`.
        dismiss: whether one that has ended can be removed from the list.
    """

    @st.fragment(run_every=EVERY)
    def panel() -> None:
        job = jobs.look(read.store(), request.name)
        with st.container(border=True, key=key):
            st.markdown(words)
            if job is None or job.state == "running":
                _running(request.name, job)
            elif job.state == "done":
                st.rerun()
            else:
                _ended(request, job, dismiss)
        if show is not None:
            show()

    panel()


def _running(name: str, job: Job | None) -> None:
    if job is None:
        st.progress(0.0, "Starting …")
        return
    left = f", about {duration(job.left)} left" if job.left is not None and job.left > 1 else ""
    steps = f" {job.done:,} of {job.total:,}{left}" if job.total > 1 else ""
    st.progress(job.share, f"{markdown(job.stage)} …{steps}")
    # by a callback: the panel's next refresh may interrupt this run before it gets here
    st.button("Stop", icon=":material/stop:", key=f"stop-{name}", on_click=jobs.stop, args=(read.store(), name))


def _ended(request: JobRequest, job: Job, dismiss: bool) -> None:
    name = request.name
    if job.state == "failed":
        show_error(job.message.splitlines()[0] if job.message else "The job failed.")
        with st.expander("Last log lines"):
            st.code(short(without_colours(jobs.last_lines(read.store(), name))) or "The log is empty.", language=None)
    else:
        st.info("Stopped. Finished work is kept.", icon=":material/pause:")
    if st.button(
        "Try again" if job.state == "failed" else "Continue", icon=":material/play_arrow:", key=f"start-{name}"
    ):
        jobs.start(read.store(), name, request.arguments)
        st.rerun(scope="fragment")
    if dismiss and st.button("Dismiss", icon=":material/close:", key=f"dismiss-{name}"):
        jobs.forget(read.store(), name)
        st.rerun()


def duration(seconds: float) -> str:
    """Seconds in words."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
