"""Other arithmetic: results of their own, with what they change."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from kmex_core.base.errors import InputError
from kmex_core.base.store import Store
from kmex_core.commands._arithmetic import arithmetic_of
from kmex_core.networks.arithmetic import EXACT, FLOAT32, MIXED, Arithmetic
from kmex_core.stages.arithmetic_change import arithmetic_change
from kmex_core.stages.subject import subject_of


def test_each_arithmetic_has_a_key_and_earlier_ones_keep_theirs(store: Store) -> None:
    subject = subject_of(store, "digits")
    spec = subject.embedding("test").spec
    assert "arithmetic" not in spec.described()
    assert subject.embedding("test", Arithmetic(MIXED)).key == dataclasses.replace(spec, mixed_precision=True).key
    every = [
        Arithmetic(precision, compiled)
        for precision in (FLOAT32, MIXED, "bfloat16", "float16")
        for compiled in (False, True)
    ]
    assert len({subject.embedding("test", arithmetic).key for arithmetic in every}) == len(every)


def test_options_choose_one_arithmetic() -> None:
    assert arithmetic_of(FLOAT32, False, False) == EXACT
    assert arithmetic_of(FLOAT32, True, True) == Arithmetic(MIXED, True)
    with pytest.raises(InputError, match="exclude each other"):
        arithmetic_of("bfloat16", False, True)
    with pytest.raises(InputError, match="Unknown precision 'int8': use float32, bfloat16, float16"):
        arithmetic_of("int8", False, False)


def test_what_sixteen_bits_change_is_measured(store: Store) -> None:
    subject, half = subject_of(store, "digits"), Arithmetic("bfloat16")
    change = arithmetic_change(subject, half)
    exact, rounded = subject.embedding("test").get(), subject.embedding("test", half).get()
    rows = np.unique(np.linspace(0, len(exact) - 1, 256).astype(int))
    difference = np.abs(exact.z - rounded.z)[rows].max() / np.abs(exact.z[rows]).max()
    assert change.images == len(rows)
    assert change.largest_difference == pytest.approx(difference, rel=1e-3)
    assert 1e-4 < change.largest_difference < 0.1
    assert change.changed_predictions == (exact.black_box != rounded.black_box)[rows].mean()
    assert (change.split, "bfloat16 precision: on 256 test images" in change.text) == ("test", True)
    assert arithmetic_change(subject, EXACT).largest_difference < 1e-5
