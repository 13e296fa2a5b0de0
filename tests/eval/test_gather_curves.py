"""Curves are gathered as they are written; one that is cut or another's is refused by its file."""

import pandas as pd
import pytest

from eval.gather_curves import Gathering, read_curve

LABELS = {"objective": "rloo", "anchor": "0.25", "seed": 0}
SETTINGS = Gathering([LABELS], points=3, max_lam=2)
ROWS = [f"{lam},0.30000000000000004,rloo,0.25,0" for lam in (0.0, 0.5, 1.0, 2.0)]
TEXT = "\n".join(["lam,gold,objective,anchor,seed", *ROWS]) + "\n"


def test_a_whole_curve_is_read_to_the_letter(tmp_path):
    file = tmp_path / "curve.csv"
    file.write_text(TEXT)
    curve = read_curve(file, LABELS, SETTINGS)
    assert isinstance(curve, pd.DataFrame)
    assert curve.to_csv(index=False) == TEXT


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no table"),
        ("".join(TEXT.splitlines(keepends=True)[:3]), "has 2 points, not 3"),
        ("".join(TEXT.splitlines(keepends=True)[:4]), "ends before lam = 2"),
        (TEXT.replace("rloo", "dpo"), "is not the curve of objective = rloo"),
        (TEXT.replace(",0.25,", ",0.5,"), r"is not the curve of anchor = 0\.25"),
        (TEXT.replace(",seed", ",s"), "is not the curve of seed = 0"),
    ],
)
def test_a_curve_that_is_empty_cut_or_of_another_model_is_named(tmp_path, text, message):
    file = tmp_path / "curve.csv"
    file.write_text(text)
    with pytest.raises(ValueError, match=message) as refused:
        read_curve(file, LABELS, SETTINGS)
    assert str(refused.value).startswith(str(file))
    assert f"delete {file} and run the study again" in str(refused.value)
