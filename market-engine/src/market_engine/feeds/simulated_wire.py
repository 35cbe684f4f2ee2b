"""Simulated rows as the frames that the venue would send, in its combined-stream form."""

from __future__ import annotations

from market_engine.feeds.simulated_block import Row
from market_engine.feeds.simulated_profiles import Profile


class Encoder:
    """Of one symbol."""

    def __init__(self, profile: Profile) -> None:
        name = profile.symbol
        stream = f'{{"stream":"{name.lower()}@'
        self._trade_head = f'{stream}aggTrade","data":{{"e":"aggTrade","E":'
        self._trade_symbol = f',"s":"{name}","a":'
        self._quote_head = f'{stream}bookTicker","data":{{"u":'
        self._quote_symbol = f',"s":"{name}","b":"'
        self._price_digits, self._qty_digits = profile.price_digits, profile.qty_digits

    def encode(self, row: Row) -> bytes:
        """A row of the symbol as a frame."""
        _, _, _, is_trade, number, first, second, third, fourth = row
        price, qty = self._price_digits, self._qty_digits
        if is_trade:
            return (
                f"{self._trade_head}{fourth}{self._trade_symbol}{number}"
                f',"p":"{decimal_text(first, price)}","q":"{decimal_text(second, qty)}"'
                f',"f":{number},"l":{number},"T":{fourth}'
                f',"m":{"true" if third else "false"},"M":true}}}}'
            ).encode()
        return (
            f"{self._quote_head}{number}{self._quote_symbol}{decimal_text(first, price)}"
            f'","B":"{decimal_text(second, qty)}","a":"{decimal_text(third, price)}'
            f'","A":"{decimal_text(fourth, qty)}"}}}}'
        ).encode()


def decimal_text(count: int, digits: int) -> str:
    """A count of the last of ``digits`` places after the point, with eight of them, as sent."""
    if not digits:
        return f"{count}.00000000"
    whole, fraction = divmod(count, 10**digits)
    return f"{whole}.{fraction:0{digits}d}{'0' * (8 - digits)}"
