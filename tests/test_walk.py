"""The captions of the recorded walk say what the page says, and nothing where it does not say it."""

from __future__ import annotations

import pytest

from tools import walk_captions as captions

HEADER = "faces · resnet20\nmodel shortcut\nblack box 71.2%\nKMEx 83.6%\nagreement 82.1%"
ROWS = {"Accuracy": ("1.0 → 2.0% ▲", "3.0 → 4.0% ▲"), "Worst subgroup": ("53.3 → 69.0% ▲", "55.1 → 54.0% ▼")}


def test_captions_have_the_figures_of_the_page() -> None:
    assert "has 71.2% right, KMEx 83.6%" in captions.start(HEADER)
    assert "wrong on 1,136 of 3,000 training images" in captions.mistakes({"wrong": "1,136", "right": "1,864"})
    suspect = captions.suspect("Prototype 3 of senior, 20%, 1,013 wrong, split from 4")
    assert "Prototype 3 of senior" in suspect
    assert "1,013 training images" in suspect
    card = captions.card("Attracted from other classes: adult 1,013, small child 2", "Prototype 3 of senior")
    assert "other classes: 1,013 of adult, 2 of small child." in card
    scores = captions.scores(ROWS, {"wrong": "303", "right": "2,697"})
    assert "scored half: 53.3 to 69.0%. Of the untouched half: 55.1 to 54.0%." in scores
    assert "303 are wrong" in scores
    after = HEADER.replace("83.6", "87.2")
    assert "83.6% before, 87.2% now" in captions.saved(HEADER, after, "Edited: 1 prototype hidden.")


def test_a_page_without_the_figure_has_no_caption() -> None:
    with pytest.raises(ValueError, match="does not say"):
        captions.start("black box 71.2%")
    with pytest.raises(KeyError):
        captions.mistakes({"senior": "962"})
