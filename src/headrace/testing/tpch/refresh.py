"""The refresh streams: new orders come, old ones go, customers and parts change."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.change import Change
from headrace.testing.tpch import words
from headrace.testing.tpch.rows import Rows, money


class Refresh:
    """Holds the tables as they are and makes their next changes.

    Args:
        tables: what `make_tables` made.
        seed: of all that is random.
    """

    def __init__(self, tables: dict[str, pa.RecordBatch], seed: int = 2) -> None:
        self.tables = dict(tables)
        self._rows = Rows(tables["orders"].num_rows, seed)
        self._random = np.random.default_rng(seed)
        self._next_order = tables["orders"].num_rows + 1

    def insert_orders(self, count: int) -> dict[str, Change]:
        """RF1: new orders with their lines."""
        orders, lines = self._rows.orders(self._next_order, count)
        self._next_order += count
        return self._applied({"orders": Change.inserts(orders), "lineitem": Change.inserts(lines)})

    def delete_orders(self, count: int) -> dict[str, Change]:
        """RF2: as many orders go, with their lines, any of them."""
        keys = self.tables["orders"].column("o_orderkey")
        gone = keys.take(pa.array(self._random.choice(len(keys), min(count, len(keys)), replace=False)))
        return self._applied(
            {
                name: Change.inserts(
                    self.tables[name].filter(pc.is_in(self.tables[name].column(key), gone))
                ).negated()
                for name, key in (("orders", "o_orderkey"), ("lineitem", "l_orderkey"))
            }
        )

    def update(self, count: int) -> dict[str, Change]:
        """So many customers get another balance and segment, so many parts another size and container."""
        segments = pa.array(self._random.choice(words.SEGMENTS, count))
        sizes = pa.array(self._random.integers(1, 16, count), pa.int32())
        containers = pa.array(self._random.choice(["MED BOX", "SM CASE", "LG BOX"], count))
        balances = money(self._random.integers(-99_900, 999_900, count))
        return self._applied(
            {
                "customer": self._changed("customer", {"c_mktsegment": segments, "c_acctbal": balances}),
                "part": self._changed("part", {"p_size": sizes, "p_container": containers}),
            }
        )

    def _changed(self, table: str, values: dict[str, pa.Array]) -> Change:
        """Return the change that gives some rows other values in some columns."""
        rows = self.tables[table]
        count = min(len(next(iter(values.values()))), rows.num_rows)
        old = rows.take(pa.array(self._random.choice(rows.num_rows, count, replace=False)))
        arrays = [
            values[name].slice(0, count) if name in values else old.column(name) for name in rows.schema.names
        ]
        new = pa.RecordBatch.from_arrays(arrays, schema=rows.schema)
        return Change.concat([Change.inserts(old).negated(), Change.inserts(new)])

    def _applied(self, changes: dict[str, Change]) -> dict[str, Change]:
        for name, change in changes.items():
            keys = [field for field in self.tables[name].schema.names if field.endswith("key")][:1]
            rows = self.tables[name]
            gone = change.filter(change.weights < 0).rows
            if gone.num_rows:
                rows = rows.filter(pc.invert(pc.is_in(rows.column(keys[0]), gone.column(keys[0]))))
            self.tables[name] = pa.concat_batches([rows, change.filter(change.weights > 0).rows])
        return changes
