"""The promotion wall: six streams, and the views in `views/`."""

from __future__ import annotations

from pathlib import Path

import headrace as hr
from headrace.solutions.promotions import models

HERE = Path(__file__).parent
EVENT_ID_WINDOW = "2h"
"""How long an event id is remembered: longer than any client retries, and affordable at 20,000 a second."""

app = hr.App("promotions")

for _name, _model in (
    ("searches", models.Search),
    ("product_views", models.ProductView),
    ("orders", models.OrderLine),
    ("requests", models.Request),
    ("machine_metrics", models.MachineMetric),
    ("logs", models.LogLine),
):
    app.stream(_name, _model, event_id="event_id", event_id_window=EVENT_ID_WINDOW)

app.views(HERE / "views")
