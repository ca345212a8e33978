"""Each checkable claim of the article as a function that measures it: one module a chapter. Chapter: ledger.

>>> from lossbook.book import claims
>>> claims.LEDGER["C07"].verdict
'conditional'
>>> round(claims.LEDGER["C07"].measure().value, 4)
-0.3069
"""

from lossbook.book.claims.ledger import LEDGER, Claim, ClaimBox, Measurement, claim, measured, show

__all__ = ["LEDGER", "Claim", "ClaimBox", "Measurement", "claim", "measured", "show"]
