"""Steps of long work: what is counted, and what a program is told of them."""

import pytest

from zagg_catalog.progress import Display, Step, displayed, duration, step, track


def test_a_step_says_how_much_is_done_and_how_long_the_rest_takes():
    counted = Step("maps", "map", 40)
    assert counted.text(0.0) == "0 of 40 maps, 0 s"
    counted.update(10)
    assert counted.text(6.0) == "10 of 40 maps, 6 s, 18 s left"
    counted.update(40)
    assert counted.text(24.0) == "40 of 40 maps, 24 s"


def test_a_step_without_a_total_says_what_is_done():
    counted = Step("fetch", "granule", None)
    assert counted.text(2.0) == "2 s"
    counted.add()
    assert counted.text(2.0) == "1 granule, 2 s"
    counted.update(2, 2000)
    assert counted.count == "2 of 2,000 granules"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (7800, "2 h 10 min"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_without_a_display_nothing_is_shown(capfd):
    with step("maps", "map", 2) as counted:
        counted.add()
    assert counted.done == 1
    assert capfd.readouterr() == ("", "")


def test_a_display_is_told_of_steps_that_end_well():
    ended = []
    with displayed(Display(bars=False, on_end=ended.append)):
        assert list(track("abc", "letters", "letter")) == ["a", "b", "c"]
        with pytest.raises(KeyError), step("lost", "key"):
            raise KeyError
    assert [(one.title, one.count) for one in ended] == [("letters", "3 of 3 letters")]


def test_calls_are_counted_when_they_return():
    with step("squares", "square", 3) as counted:
        assert [*map(counted.counting(lambda one: one * one), (1, 2))] == [1, 4]
    assert counted.count == "2 of 3 squares"


def test_a_fast_step_shows_nothing_and_starts_no_bar(capfd):
    display = Display(bars=True, delay=600)
    with displayed(display):
        for number in track(range(3), "numbers", "number"):
            assert number < 3
    assert display._timer is None
    assert capfd.readouterr() == ("", "")
