"""Reading lists of questions, and the filters of form."""

from __future__ import annotations

import pytest

from tutelage.selection.questions import FormRules, fault_of_form, read_list


@pytest.mark.parametrize(
    "text, is_begun, is_cut, wanted",
    [
        (" One?\n10. Two?\n11. Three?", True, False, ["One?", "Two?", "Three?"]),
        (" One?\n10. Two?\n11. Thr", True, True, ["One?", "Two?"]),
        ("Sure, here it is:\n9. One?\n10) Two\nlines?", False, False, ["One?", "Two lines?"]),
        ("**1.** A costs 3.50 and B 2. 4 are sold?", False, False, ["A costs 3.50 and B 2. 4 are sold?"]),
        ("no list at all", False, False, []),
        ("", True, False, []),
        (" only one", True, True, []),
    ],
)
def test_read_list(text: str, is_begun: bool, is_cut: bool, wanted: list[str]) -> None:
    assert read_list(text, is_begun=is_begun, is_cut=is_cut) == wanted


@pytest.mark.parametrize(
    "question, fault",
    [
        ("What is this?", "too_short"),
        ("What is this thing?", None),
        (" ".join(["word"] * 150), None),
        (" ".join(["word"] * 151), "too_long"),
        ("How many files are in the folder?", "banned_word"),
        ("Look at the graph and find x.", "banned_word"),
        ("A photographer takes 4 photographs a day?", None),
        ("Write a program that adds two numbers.", "program"),
        ("- how many are left over?", "bad_start"),
        ("Über wie viele Tage geht das?", "bad_start"),
        ("$x^2 = 4$, so what is x?", None),
        ("\\frac{1}{2} of what number is 4?", None),
        ("(a) is 4, what is b?", None),
    ],
)
def test_faults_of_form(question: str, fault: str | None) -> None:
    assert fault_of_form(question, FormRules()) == fault
