"""In which currency a symbol is priced, as far as its name tells. Pure; a guess is no answer.

No feed says it: a venue writes base and quote in one word. Where that can be read in two ways, the
one whose base is an asset that is known goes first; where that does not decide, it is unclear.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

UNCLEAR: Final = ""
"""Of a symbol that is known, but not in what it is priced."""
_QUOTES: Final = (
    "USDT", "USDC", "FDUSD", "TUSD", "BUSD", "USDP", "USDS", "USD1", "DAI", "USD",
    "EUR", "EURI", "AEUR", "GBP", "JPY", "TRY", "BRL", "AUD", "RUB", "UAH", "PLN", "RON", "CZK",
    "ZAR", "ARS", "MXN", "COP", "NGN", "IDR", "IDRT", "BIDR",
    "BTC", "ETH", "BNB", "SOL", "XRP", "TRX", "DOGE", "DOT",
)  # fmt: skip
_BASES: Final = frozenset({
    "BTC", "ETH", "BNB", "SOL", "XRP", "ADA", "DOGE", "DOT", "TRX", "LTC", "BCH", "LINK", "AVAX",
    "MATIC", "POL", "UNI", "ATOM", "XLM", "ETC", "FIL", "NEAR", "APT", "ARB", "OP", "SUI", "SHIB",
    "PEPE", "TON", "AAVE", "ALGO", "VET", "ICP", "HBAR", "EOS", "XTZ", "SAND", "MANA", "GALA",
    "LUNA", "WBTC", "PAXG", "USDT", "USDC", "FDUSD", "TUSD", "BUSD", "DAI",
})  # fmt: skip


@lru_cache(maxsize=4_096)
def currency_of(symbol: str, kind: str) -> str:
    """USD for equities; of crypto what its name ends with, or ``UNCLEAR``."""
    if kind == "equity":
        return "USD"
    if kind != "crypto":
        return UNCLEAR
    read = {each: symbol.removesuffix(each).rstrip("-_.") for each in _QUOTES}
    ways = {quote: base for quote, base in read.items() if base and symbol.endswith(quote)}
    known = [quote for quote, base in ways.items() if base in _BASES] or list(ways)
    if known == ["FDUSD", "USD"]:
        return "FDUSD"  # there is no asset whose name ends with FD
    return known[0] if len(known) == 1 else UNCLEAR
