"""The forms of text that the API takes, and of each the sentence for what has another one.

Patterns are for machines and the OpenAPI page; a person is told what to write.
"""

from __future__ import annotations

from typing import Final

NAME: Final = r"^[a-z0-9_-]{1,32}$"
CLIENT_ORDER_ID: Final = r"^[A-Za-z0-9._:-]{1,64}$"
SYMBOL: Final = r"^[A-Z0-9._-]{1,32}$"
CURRENCY: Final = r"^[A-Z0-9]{2,10}$"
ABOVE_0: Final = r"^([1-9][0-9]{0,14}(\.[0-9]{1,9})?|0\.[0-9]{0,8}[1-9]0{0,8})$"
FROM_0: Final = r"^(0|[1-9][0-9]{0,14})(\.[0-9]{1,9})?$"
BELOW_1: Final = r"^0(\.[0-9]{1,9})?$"
UP_TO_1: Final = r"^(0(\.[0-9]{1,9})?|1(\.0{1,9})?)$"
_DIGITS: Final = "at most 15 digits before the point and 9 after it"
CURES: Final = {
    NAME: "write 1 to 32 small letters, digits, _ or -, such as main",
    CLIENT_ORDER_ID: "write 1 to 64 letters, digits, or . _ : -, such as bot-17",
    SYMBOL: "write a symbol as GET /symbols lists it, such as BTCUSDT",
    CURRENCY: "write 2 to 10 capital letters or digits, such as USDT",
    ABOVE_0: f'write a number above 0, such as "0.01": {_DIGITS}, no sign and no exponent',
    FROM_0: f'write 0 or more, such as "1000": {_DIGITS}, no sign and no exponent',
    BELOW_1: 'write a fraction below 1, such as "0.0005": at most 9 digits after the point',
    UP_TO_1: 'write a fraction from 0 to 1, such as "0.05": at most 9 digits after the point',
}
"""By pattern: what to do."""
TEXT: Final = 'write it as text, between quotation marks, such as "0.01" or "main"'
