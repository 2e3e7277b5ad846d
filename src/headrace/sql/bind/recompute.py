"""Recompute: the smallest part that has no incremental rule, as SQL over inputs planned by themselves."""

from __future__ import annotations

from headrace.contracts.schema import Schema
from headrace.sql.bind.env import Bound, Env
from headrace.sql.bind.scope import Col, Scope
from headrace.sql.bind.work import NotPlanned, OtherJoin, TreeRecompute, Work
from headrace.sql.duck import column, quote
from headrace.sql.plan import Constant, Node
from headrace.sql.tree import Tree, bound, coalesce, conjunction, is_null, is_query, table, walk
from headrace.sql.windows import HOP_KEY

_JOIN_WORDS = {
    "INNER": "INNER JOIN", "LEFT": "LEFT JOIN", "RIGHT": "RIGHT JOIN", "OUTER": "FULL JOIN",
    "FULL": "FULL JOIN",     "SEMI": "SEMI JOIN", "ANTI": "ANTI JOIN",
}  # fmt: skip


class _Parts:
    """The inputs that a recomputed query reads, each once."""

    def __init__(self, work: Work, *, whole: bool) -> None:
        self.work = work
        self.whole = whole
        self.nodes: list[Node] = []
        self._known: dict[str, str] = {}

    def add(self, answer: Bound, key: str | None = None) -> str:
        """Add an input under its labels; return its table name."""
        if key is not None and key in self._known:
            return self._known[key]
        name = f"__in{len(self.nodes)}"
        self.nodes.append(labelled(self.work, answer))
        if key is not None:
            self._known[key] = name
        return name

    @property
    def aliases(self) -> tuple[str, ...]:
        return tuple(f"__in{i}" for i in range(len(self.nodes)))


def labelled(work: Work, answer: Bound) -> Node:
    """Return the rows of a query with its columns named by their labels."""
    labels = [col.label for col in answer.columns]
    if answer.node.schema.names == tuple(labels):
        return answer.node
    return work.project(answer.node, [(col.label, bound(col.name)) for col in answer.columns])


def recompute(work: Work, env: Env, query: Tree, reason: str, *, whole: bool = False) -> Bound:
    """Return a query as a Recompute over its relations and its subqueries in FROM.

    Args:
        work: the planning.
        env: the common table expressions in sight.
        query: the query node.
        reason: the construct that has no rule.
        whole: leave its subqueries in the SQL; only relations become inputs.
    """
    described = work.describe(query, env)
    parts = _Parts(work, whole=whole)
    detached = _detach(parts, query, env, frozenset())
    columns = tuple(Col(label, work.names.fresh(label), sql_type) for label, sql_type in described)
    names = ", ".join(quote(col.name) for col in columns)
    sql = f"SELECT {_items(query, columns)} FROM ({work.duck.text(detached)}) AS _answer({names})"
    schema = Schema.of(column(col.name, col.sql_type) for col in columns)
    if not parts.nodes:
        return Bound(Constant(schema, sql), columns)
    node = TreeRecompute(schema, tuple(parts.nodes), parts.aliases, sql, reason, _mentioned(query))
    return Bound(node, columns)


def _items(query: Tree, columns: tuple[Col, ...]) -> str:
    """Return the outputs; where the query says NULL, one may have no type yet and is given it."""
    if not any(is_null(part) for part in walk(query)):
        return "*"
    return ", ".join(f"CAST({quote(col.name)} AS {col.sql_type}) AS {quote(col.name)}" for col in columns)


def _mentioned(query: Tree) -> frozenset[str] | None:
    """Return every name that a query could mean a column by; None where it may read all columns."""
    names: set[str] = set()
    for part in walk(query):
        if part.get("class") == "STAR" or part.get("type") == "PIVOT" or part.get("ref_type") == "NATURAL":
            return None
        if part.get("type") in ("SET_OPERATION_NODE", "BASE_TABLE", "SUBQUERY") and part.get(
            "column_name_alias"
        ):
            return None
        if part.get("class") == "COLUMN_REF":
            names |= {str(name).lower() for name in part["column_names"]}
        names |= {str(name).lower() for name in part.get("using_columns") or []}
        if part.get("type") == "BASE_TABLE":
            tables = {str(part.get("alias") or "").lower(), str(part["table_name"]).lower()}
            if tables & _bare_names(query):
                return None
    return frozenset(names)


def _bare_names(query: Tree) -> set[str]:
    refs = (
        part for part in walk(query) if part.get("class") == "COLUMN_REF" and len(part["column_names"]) == 1
    )
    return {str(part["column_names"][0]).lower() for part in refs}


def _detach(parts: _Parts, tree: Tree, env: Env, shadowed: frozenset[str]) -> Tree:
    """Return a copy of a query (or a piece of one) that reads parts instead of relations."""
    if is_query(tree):
        tree, shadowed = _detach_with(parts, tree, env, shadowed)
    if HOP_KEY in tree:
        return _read(tree, parts.add(_from_leaf(parts.work, env, tree)))
    if tree.get("type") == "BASE_TABLE":
        name = str(tree["table_name"]).lower()
        if name in shadowed:
            return tree
        return _read(tree, parts.add(_from_leaf(parts.work, env, tree), name))
    is_source = tree.get("type") == "SUBQUERY" and "class" not in tree and not parts.whole
    if is_source and not _reads(tree, shadowed):
        answer = _independent(parts.work, env, tree["subquery"]["node"])
        if answer is not None:
            return _read(tree, parts.add(answer))
    return {key: _detach_value(parts, value, env, shadowed) for key, value in tree.items()}


def _detach_with(
    parts: _Parts, tree: Tree, env: Env, shadowed: frozenset[str]
) -> tuple[Tree, frozenset[str]]:
    """Detach the queries of a WITH, each of which sees those before it."""
    if tree["type"] == "RECURSIVE_CTE_NODE":
        shadowed = shadowed | {str(tree["cte_name"]).lower()}
    entries = (tree.get("cte_map") or {}).get("map") or []
    done = []
    for entry in entries:
        done.append(_detach(parts, entry, env, shadowed))
        shadowed = shadowed | {str(entry["key"]).lower()}
    return (tree | {"cte_map": {"map": _Done(done)}} if entries else tree), shadowed


class _Done(list[Tree]):
    """Trees that are detached already."""


def _detach_value(parts: _Parts, value: object, env: Env, shadowed: frozenset[str]) -> object:
    if isinstance(value, dict):
        return _detach(parts, value, env, shadowed)
    if isinstance(value, list) and not isinstance(value, _Done):
        return [_detach_value(parts, item, env, shadowed) for item in value]
    return value


def _from_leaf(work: Work, env: Env, tree: Tree) -> Bound:
    from headrace.sql.bind.from_ import leaf  # the two modules call each other

    return leaf(work, env, tree)


def _independent(work: Work, env: Env, query: Tree) -> Bound | None:
    """Plan a subquery in FROM by itself; None where it reads columns of its neighbours."""
    try:
        return work.bind(query, env)
    except NotPlanned:
        return None


def _reads(tree: Tree, names: frozenset[str]) -> bool:
    return any(
        part.get("type") == "BASE_TABLE" and str(part["table_name"]).lower() in names for part in walk(tree)
    )


def _read(tree: Tree, part: str) -> Tree:
    """Return the FROM item that reads a part under the alias that the item had."""
    alias = tree.get("alias") or (tree["table_name"] if tree["type"] == "BASE_TABLE" else "")
    return table(part, str(alias), tree.get("column_name_alias"))


def outer_join(
    work: Work,
    tree: Tree,
    left: tuple[Node, Scope],
    right: tuple[Node, Scope],
    shared: list[str],
    conditions: list[Tree],
) -> tuple[Node, Scope]:
    """Return a join other than inner as a Recompute of the join alone.

    Args:
        work: the planning.
        tree: the join as parsed.
        left: the left rows and their names.
        right: the right rows and their names.
        shared: labels of USING or NATURAL.
        conditions: all conditions, resolved.
    """
    join_type, ref_type = tree["join_type"], tree["ref_type"]
    if join_type not in _JOIN_WORDS or ref_type not in ("REGULAR", "NATURAL", "ASOF"):
        raise NotPlanned(f"{ref_type} {join_type} JOIN")
    words = ("ASOF " if ref_type == "ASOF" else "") + _JOIN_WORDS[join_type]
    keeps_left_only = join_type in ("SEMI", "ANTI")
    columns = list(left[0].schema) if keeps_left_only else [*left[0].schema, *right[0].schema]
    all_columns = Schema.of([*left[0].schema, *right[0].schema])
    on = work.expr(all_columns, conjunction(conditions))
    node: Node = OtherJoin(Schema.of(columns), left[0], right[0], words, on)
    if keeps_left_only:
        return node, left[1]
    return _merged_outer(work, node, left[1], right[1], shared, join_type)


def _merged_outer(
    work: Work, node: Node, left: Scope, right: Scope, shared: list[str], join_type: str
) -> tuple[Node, Scope]:
    """Return the scope of an outer join; a USING column is the side that is never NULL, or both coalesced."""
    sources = left.sources + right.sources
    hidden = {label.lower() for label in shared}
    star: list[Col] = []
    extra: list[tuple[str, Tree]] = []
    for col in left.star:
        other = right.find(col.label) if col.label.lower() in hidden else None
        if other is None or join_type in ("INNER", "LEFT"):
            star.append(col)
        elif join_type == "RIGHT":
            star.append(other)
        else:
            name = work.names.fresh(col.label)
            extra.append((name, coalesce([bound(col.name), bound(other.name)])))
            star.append(Col(col.label, name, col.sql_type))
    star += [col for col in right.star if col.label.lower() not in hidden]
    merged = work.extended(node, extra)
    typed = [Col(c.label, c.name, merged.schema[c.name].sql_type) for c in star]
    return merged, Scope(sources, tuple(typed))
