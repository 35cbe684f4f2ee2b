"""The keyboard of the trade page: Q goes to the quantity; B and S work from inside it too.

Streamlit's own button shortcuts (B, S) stay silent while somebody types. A quantity has no letters,
so inside it they leave the field, which commits the number, and press the button.
"""

from __future__ import annotations

from typing import Final

SCRIPT: Final = """
<script>
(() => {
  if (window.tradeKeys) document.removeEventListener("keydown", window.tradeKeys, true);
  const find = (selector) => document.querySelector(selector);
  const plain = (event) => !(event.ctrlKey || event.metaKey || event.altKey || event.isComposing);
  const typing = (node) => /^(INPUT|TEXTAREA|SELECT)$/.test(node.tagName) || node.isContentEditable;
  window.tradeKeys = (event) => {
    if (!plain(event)) return;
    const field = find(".st-key-quantity input");
    if (!field) return;
    const key = event.key.toLowerCase();
    if (event.target === field) {
      const button = { b: ".st-key-buy button", s: ".st-key-sell button" }[key];
      if (button || key === "enter" || key === "escape") setTimeout(() => field.blur(), 0);
      if (!button) return;
      event.preventDefault();
      if (!event.repeat) setTimeout(() => find(button).click(), 60);
    } else if (key === "q" && !typing(event.target)) {
      event.preventDefault();
      field.focus();
      field.select();
    }
  };
  document.addEventListener("keydown", window.tradeKeys, true);
})();
</script>
"""
