"""Numbers and texts as the page writes them."""

import math
import re

from markupsafe import Markup

LONGEST = 300
"""Characters shown of any text that a dataset carries."""


def short(text: object, longest: int = LONGEST) -> str:
    """Cut a text that is too long to show."""
    text = str(text)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def breakable(name: str) -> Markup:
    """Let a long name break after its slashes and underscores alone."""
    return Markup("<wbr>").join(re.findall(r".*?[/_]|.+", name))


def number(value: float, digits: int = 3) -> str:
    """Write a number short, with a real minus sign; what rounding leaves of zero is zero.

    Examples
    --------
    >>> number(0.052341), number(-1234.4), number(5e-7), number(-2e-15)
    ('0.0523', '−1,234', '5e−07', '0')
    """
    value = value if abs(value) > 1e-12 else 0.0
    text = f"{value:,.0f}" if 10**digits <= abs(value) < 1e6 else f"{value:,.{digits}g}"
    return "0" if text == "-0" else text.replace("-", "−")


def signed(value: float) -> str:
    """Write a charge with its sign.

    Examples
    --------
    >>> signed(0.312), signed(-2), signed(-0.001)
    ('+0.31', '−2', '0.00')
    """
    if isinstance(value, int):
        return f"{value:+d}".replace("-", "−") if value else "0"
    text = f"{value:+.2f}".replace("-", "−")
    return "0.00" if text[1:] == "0.00" else text


def compact(count: int) -> str:
    """Write a count in at most four characters.

    Examples
    --------
    >>> compact(812), compact(4126), compact(32600), compact(2_000_000)
    ('812', '4.1k', '33k', '2.0M')
    """
    if count < 1000:
        return str(count)
    power = min(int(math.log10(count)) // 3, 4)
    scaled = count / 1000**power
    return f"{scaled:.1f}{' kMGT'[power]}" if scaled < 9.95 else f"{scaled:.0f}{' kMGT'[power]}"
