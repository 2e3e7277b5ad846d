"""Currencies: which there are, how many decimals each has, and by which signs they go.

The decimals are those in which Stripe tells amounts; the view `currency_rates` has the same.
"""

from __future__ import annotations

from collections.abc import Mapping

WHOLE = (
    *("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga"),
    *("pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf"),
)
THIRDS = ("bhd", "jod", "kwd", "omr", "tnd")
HUNDREDTHS = """
aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bmd bnd bob brl bsd btn bwp byn bzd cad cdf chf
clf cny cop crc cuc cup cve czk dkk dop dzd egp ern etb eur fjd fkp gbp gel ghs gip gmd gtq gyd hkd hnl
hrk htg huf idr ils inr iqd irr isk jmd kes kgs khr kpw kyd kzt lak lbp lkr lrd lsl lyd mad mdl mkd mmk
mnt mop mru mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd pab pen pgk php pkr pln qar ron rsd rub sar
sbd scr sdg sek sgd shp sle sll sos srd ssp std stn svc syp szl thb tjs tmt top try ttd twd tzs uah usd
uyu uzs ved ves vef wst xcd xcg yer zar zmw zwg zwl
"""
DIGITS: Mapping[str, int] = {
    **dict.fromkeys(HUNDREDTHS.split(), 2),
    **dict.fromkeys(WHOLE, 0),
    **dict.fromkeys(THIRDS, 3),
}
"""Decimals by currency: all that there are."""
DOLLARS = """
usd ars aud bbd bmd bnd brl bsd bzd cad clp cop cve dop fjd gyd hkd jmd kyd lrd mop mxn nad nio nzd sbd
sgd srd top ttd twd uyu wst xcd
"""
SIGNS: Mapping[str, tuple[str, ...]] = {
    "$": tuple(DOLLARS.split()),
    "€": ("eur",),
    "£": ("gbp", "egp", "fkp", "gip", "lbp", "sdg", "shp", "ssp", "syp"),
    "¥": ("jpy", "cny"),
    "₩": ("krw", "kpw"),
    "₹": ("inr",),
}
"""Which currencies go by a sign."""
