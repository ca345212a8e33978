"""Each checkable claim of the article as a function that measures it: one module a chapter. Chapter: ledger.

>>> from lossbook.book import claims
>>> claims.LEDGER["C07"].verdict
'holds'
>>> round(claims.LEDGER["C07"].measure().details["logistic_with_the_natural_logarithm"], 4)
-0.3069
"""

from lossbook.book.claims.ledger import LEDGER, Claim, ClaimBox, Measurement, claim, measured, show

__all__ = ["LEDGER", "Claim", "ClaimBox", "Measurement", "claim", "measured", "show"]
