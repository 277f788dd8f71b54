"""What goes to a terminal."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from mlipq.cli.output import print_table, printable


@given(st.text(st.characters()))
def test_no_control_character_goes_to_a_terminal(text):
    shown = printable(text)
    assert all(c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs") for c in shown)
    assert shown == text or not text.isprintable()


def test_what_a_stranger_wrote_is_shown_not_obeyed(capsys):
    print_table("a\x1b[2J", {"licence\x9b": "MIT\x1b]0;mine\x07", "name": "é ≈ 水"})
    said = capsys.readouterr().out
    assert "\x1b" not in said and "\x9b" not in said and "\x07" not in said
    assert "MIT\\x1b]0;mine\\x07" in said and "é ≈ 水" in said
