"""The words that the columns are made of, as the specification lists them."""

from __future__ import annotations

REGIONS = ("AFRICA", "AMERICA", "ASIA", "EUROPE", "MIDDLE EAST")
NATIONS = (
    ("ALGERIA", 0), ("ARGENTINA", 1), ("BRAZIL", 1), ("CANADA", 1), ("EGYPT", 4), ("ETHIOPIA", 0),
    ("FRANCE", 3), ("GERMANY", 3), ("INDIA", 2), ("INDONESIA", 2), ("IRAN", 4), ("IRAQ", 4), ("JAPAN", 2),
    ("JORDAN", 4), ("KENYA", 0), ("MOROCCO", 0), ("MOZAMBIQUE", 0), ("PERU", 1), ("CHINA", 2),
    ("ROMANIA", 3), ("SAUDI ARABIA", 4), ("VIETNAM", 2), ("RUSSIA", 3), ("UNITED KINGDOM", 3),
    ("UNITED STATES", 1),
)  # fmt: skip
ASKED_NATIONS = (2, 3, 6, 7, 8, 12, 18, 20, 21)
"""Nations that the queries ask for; half of the suppliers and customers live there."""
SEGMENTS = ("AUTOMOBILE", "BUILDING", "FURNITURE", "MACHINERY", "HOUSEHOLD")
PRIORITIES = ("1-URGENT", "2-HIGH", "3-MEDIUM", "4-NOT SPECIFIED", "5-LOW")
INSTRUCTIONS = ("DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN")
MODES = ("REG AIR", "AIR", "RAIL", "SHIP", "TRUCK", "MAIL", "FOB", "AIR REG")
TYPES = (
    ("STANDARD", "SMALL", "MEDIUM", "LARGE", "ECONOMY", "PROMO"),
    ("ANODIZED", "BURNISHED", "PLATED", "POLISHED", "BRUSHED"),
    ("TIN", "NICKEL", "BRASS", "STEEL", "COPPER"),
)
CONTAINERS = (
    ("SM", "LG", "MED", "JUMBO", "WRAP"),
    ("CASE", "BOX", "BAG", "JAR", "PKG", "PACK", "CAN", "DRUM"),
)
COLOURS = (
    "almond", "azure", "beige", "blush", "coral", "forest", "green", "ivory", "lemon", "linen", "navy",
)  # fmt: skip
COMMENTS = (
    "carefully even packages", "special deposits, requests", "furiously final accounts", "quiet ideas sleep",
)  # fmt: skip
ASKED_PARTS: tuple[dict[str, str | int], ...] = (
    {"p_type": "ECONOMY ANODIZED STEEL"},
    {"p_brand": "Brand#23", "p_container": "MED BOX", "p_size": 4},
    {"p_size": 15, "p_type": "SMALL PLATED BRASS"},
    {"p_name": "forest almond"},
    {"p_brand": "Brand#12", "p_container": "SM CASE", "p_size": 3},
    {"p_name": "ivory green"},
    {"p_type": "PROMO BURNISHED COPPER"},
    {"p_brand": "Brand#34", "p_container": "LG BOX", "p_size": 10},
)
"""What every fourth part is made of, in turn: these are the parts that the queries ask for."""
