"""Panels beside and below one another."""

import pytest
from matplotlib import pyplot as plt

from figures import panels


@pytest.mark.parametrize(
    ("count", "across", "blocks"),
    [(1, 1, 1), (3, 3, 1), (4, 2, 2), (5, 3, 2), (6, 3, 2), (7, 3, 3)],
)
def test_many_columns_stand_below_one_another_and_each_row_is_named_at_its_left(
    count, across, blocks
):
    figure, columns = panels.columns_of_panels(count, 2, 1.0)
    panels.label_rows(columns, ["above", "below"])
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert len(columns) == count
    assert len(shown) == 2 * count
    assert figure.get_figheight() == blocks
    for number, column in enumerate(columns):
        block, place = divmod(number, across)
        first, second = (axes.get_subplotspec() for axes in column)
        assert (first.rowspan.start, second.rowspan.start) == (2 * block, 2 * block + 1)
        assert {first.colspan.start, second.colspan.start} == {place}
        assert [axes.get_ylabel() for axes in column] == (
            ["above", "below"] if place == 0 else ["", ""]
        )
    plt.close(figure)
