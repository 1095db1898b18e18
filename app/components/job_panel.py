"""Long work in the background: its progress, its end, and why it failed."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

import streamlit as st

from app import read
from app.components.messages import show_error
from app.wording import message, short
from kmex_core.base import jobs
from kmex_core.base.jobs import Job
from kmex_core.base.plain_text import markdown, without_colours
from kmex_core.base.store import read_only

EVERY = 1.0
FOR_WHOEVER_RUNS_IT = "Whoever runs it can compute this on the command line:"


def follow(
    name: str,
    arguments: Sequence[str],
    title: str,
    about: str,
    show: Callable[[], None] | None = None,
    key: str | None = None,
) -> None:
    """Start a job, and show where it is until it is done; then the whole page runs again.

    It survives reloads and other pages. Once stopped or failed it waits for a button. On a read-only server it is not
    started: the page says who can have the result.

    Args:
        name: what names the job in the store.
        arguments: of `python -m kmex_core`.
        title, about: what it does (a text), and for how long (Markdown).
        show: called at every look, to show what there is already.
        key: names the panel, so that it takes the same room as what follows it.
    """
    if read_only():
        with st.container(border=True, key=key):
            st.info(f"Not in the store, and this server is read-only. {FOR_WHOEVER_RUNS_IT}", icon=":material/lock:")
            st.code(shlex.join(["python", "-m", "kmex_core", *arguments]), language=None, wrap_lines=True)
        if show is not None:
            show()
        return
    store = read.store()
    job = jobs.look(store, name)
    if job is None or job.state == "done":  # done, and yet its result is not there: it was removed
        jobs.start(store, name, arguments)
    watch(name, arguments, f"**{message(title)}** {about}", show, key)


def watch(
    name: str,
    arguments: Sequence[str],
    words: str,
    show: Callable[[], None] | None = None,
    key: str | None = None,
    dismiss: bool = False,
) -> None:
    """Show where a job is that was started before; when it is done, the whole page runs again.

    Args:
        name: what names the job in the store.
        arguments: to start it again with, once it has stopped or failed.
        words: what it does, in Markdown.
        show, key: see `follow`.
        dismiss: one that has ended can be taken from the list.
    """

    @st.fragment(run_every=EVERY)
    def panel() -> None:
        job = jobs.look(read.store(), name)
        with st.container(border=True, key=key):
            st.markdown(words)
            if job is None or job.state == "running":
                _running(name, job)
            elif job.state == "done":
                st.rerun()
            else:
                _ended(name, arguments, job, dismiss)
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
    if st.button("Stop", icon=":material/stop:", key=f"stop-{name}"):
        jobs.stop(read.store(), name)


def _ended(name: str, arguments: Sequence[str], job: Job, dismiss: bool) -> None:
    if job.state == "failed":
        show_error(job.message.splitlines()[0] if job.message else "The job failed.")
        with st.expander("Last log lines"):
            st.code(short(without_colours(jobs.last_lines(read.store(), name))) or "Nothing.", language=None)
    else:
        st.info("Stopped. Finished work is kept.", icon=":material/pause:")
    if st.button("Try again" if job.state == "failed" else "Go on", icon=":material/play_arrow:", key=f"start-{name}"):
        jobs.start(read.store(), name, arguments)
        st.rerun(scope="fragment")
    if dismiss and st.button("Dismiss", icon=":material/close:", key=f"dismiss-{name}"):
        jobs.forget(read.store(), name)
        st.rerun()


def duration(seconds: float) -> str:
    """Seconds in words."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
