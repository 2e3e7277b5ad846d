"""From an expression's text to a function of kernels, or the knowledge that it is DuckDB's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlglot
from sqlglot import exp

from headrace.contracts.schema import Column, Schema
from headrace.engine.duck import Duck
from headrace.engine.kernels import arithmetic, casts, compare, lazy, logic, regexp, text, time, zones
from headrace.engine.kernels.vec import BOOL, INT, OTHER, TEXT, Miss, Type, Vec, load, store, type_of

Kernel = Callable[[pa.RecordBatch, dict[str, Vec]], Vec]
"""Of a batch and the columns loaded so far: the value of an expression."""

_COMPARISONS: dict[type[exp.Expr], str] = {
    exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=",
}  # fmt: skip
_SUMS: dict[type[exp.Expr], str] = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*"}
_TIME_KINDS = ("time", "date")
_BOOLEAN = type_of("BOOLEAN")
COMPILED_MAX = 1024
"""Expressions that are kept compiled."""
_COMPILED: dict[tuple[str, Schema, str], Compiled | None] = {}


class Compiled:
    """An expression as kernels; it keeps nothing between batches."""

    def __init__(self, kernel: Kernel, output: Column) -> None:
        self._kernel = kernel
        self._output = output

    def evaluate(self, rows: pa.RecordBatch, loaded: dict[str, Vec]) -> pa.Array:
        """Return one value per row; `loaded` is shared by the expressions of a batch.

        Raises:
            Miss: this batch is DuckDB's.
        """
        return store(self._kernel(rows, loaded), self._output, rows.num_rows)


def compile_expression(sql: str, source: Schema, output: Column, duck: Duck) -> Compiled | None:
    """Return an expression over the columns of `source` as kernels, or None where some part of it has
    none.

    Kernels keep nothing, so that what was compiled serves again: in another view, or after a restart.
    """
    asked = (sql, source, output.sql_type)
    if asked not in _COMPILED:
        if len(_COMPILED) >= COMPILED_MAX:
            _COMPILED.clear()
        _COMPILED[asked] = _compile(sql, source, output, duck)
    return _COMPILED[asked]


def _compile(sql: str, source: Schema, output: Column, duck: Duck) -> Compiled | None:
    try:
        tree = sqlglot.parse_one(sql, dialect="duckdb")
        texts = _texts(tree)
        types = _types(tree, texts, source, duck)
        if types[id(tree)].sql != type_of(output.sql_type).sql or type_of(output.sql_type).kind == OTHER:
            return None
        return Compiled(_Compiler(texts, source, types, duck).compile(tree), output)
    except (Miss, sqlglot.errors.SqlglotError, KeyError):
        return None


def _types(tree: exp.Expr, texts: Mapping[int, str], source: Schema, duck: Duck) -> dict[int, Type]:
    """Return DuckDB's type of every part of an expression that has a text."""
    parts = [part for part in tree.walk() if id(part) in texts]
    known = {id(part): type_of(source[part.name].sql_type) for part in parts if isinstance(part, exp.Column)}
    asked = [part for part in parts if id(part) not in known]
    try:
        names = duck.types([texts[id(part)] for part in asked], source) if asked else []
    except Exception as error:
        raise Miss from error
    return known | {id(part): type_of(name) for part, name in zip(asked, names, strict=True)}


def _has_type(part: exp.Expr) -> bool:
    if isinstance(part, exp.Identifier | exp.DataType | exp.DataTypeParam | exp.Var):
        return False
    return not (isinstance(part, exp.If) and isinstance(part.parent, exp.Case))


def _texts(tree: exp.Expr) -> dict[int, str]:
    """Return every part that has a type as SQL, by its `id`: each is written once, which costs copies."""
    try:
        return {id(part): part.sql(dialect="duckdb") for part in tree.walk() if _has_type(part)}
    except Exception as error:
        raise Miss from error


def _once(kernel: Kernel, text: str) -> Kernel:
    """Return a kernel for a part that stands in an expression again and again: computed once per batch."""
    key = f"\0{text}"  # no column has such a name

    def remembered(rows: pa.RecordBatch, loaded: dict[str, Vec]) -> Vec:
        if key not in loaded:
            loaded[key] = kernel(rows, loaded)
        return loaded[key]

    return remembered


class _Compiler:
    def __init__(
        self, texts: Mapping[int, str], source: Schema, types: Mapping[int, Type], duck: Duck
    ) -> None:
        self._texts = texts
        self._times = Counter(texts.values())
        self._is_per_value = False
        self._source = source
        self._types = types
        self._duck = duck

    def type(self, part: exp.Expr) -> Type:
        return self._types[id(part)]

    def compile(self, part: exp.Expr) -> Kernel:
        if isinstance(part, exp.Paren):
            return self.compile(part.this)
        if isinstance(part, exp.Column):
            return self._column(part.name)
        if not any(True for _ in part.find_all(exp.Column)):
            return self._constant(part)
        repeated = None if self._is_per_value else self._repeated(part)
        if repeated is None:
            kernel = self._operation(part)
        else:
            self._is_per_value = True
            kernel = lazy.per_value(self._operation(part), repeated)
            self._is_per_value = False
        text = self._texts.get(id(part), "")
        return _once(kernel, text) if self._times[text] > 1 else kernel

    def _repeated(self, part: exp.Expr) -> str | None:
        """Return the one column of texts that a costly part reads, or None."""
        names = {column.name for column in part.find_all(exp.Column)}
        name = names.pop()
        if names or not lazy.is_costly(part) or type_of(self._source[name].sql_type).kind != TEXT:
            return None
        return self._source[name].name

    def _column(self, name: str) -> Kernel:
        column = self._source[name]
        kind = type_of(column.sql_type)

        def kernel(rows: pa.RecordBatch, loaded: dict[str, Vec]) -> Vec:
            if name not in loaded:
                loaded[name] = load(rows.column(column.name), kind)
            return loaded[name]

        return kernel

    def _constant(self, part: exp.Expr) -> Kernel:
        kind = self.type(part)
        if kind.kind == OTHER:
            raise Miss
        array = self._duck.constant(part.sql(dialect="duckdb"))
        if kind.kind == "text":
            vec = Vec("text", array[0])
        else:
            whole = load(array, kind)
            valid = None if whole.valid is None else whole.valid[0]
            # beyond 64 bits an array without axes: NumPy has no room for such a number as a scalar
            data = np.array(whole.data[0], dtype=object) if whole.data.dtype == object else whole.data[0]
            vec = Vec(whole.kind, data, valid, whole.scale)
        return lambda _rows, _loaded: vec

    def _operation(self, part: exp.Expr) -> Kernel:
        for kinds, build in _BUILDERS:
            if isinstance(part, kinds):
                return build(self, part)
        raise Miss

    # --- families
    # ----------------------------------------------------------------------------------------------
    def logical(self, part: exp.Expr) -> Kernel:
        if isinstance(part, exp.Not):
            inner = self._as(part.this, _BOOLEAN)
            return lambda rows, loaded: logic.negation(inner(rows, loaded))
        if isinstance(part, exp.Is):
            if not isinstance(part.expression, exp.Null):
                raise Miss
            inner = self.compile(part.this)
            return lambda rows, loaded: logic.is_null(inner(rows, loaded))
        is_and = isinstance(part, exp.And)
        join = logic.conjunction if is_and else logic.disjunction
        items = list(part.flatten())
        cheap = [self._as(item, _BOOLEAN) for item in items if not lazy.is_costly(item)]
        costly = [self._as(item, _BOOLEAN) for item in items if lazy.is_costly(item)]
        if not costly or not cheap:
            parts = cheap or costly
            return lambda rows, loaded: join([item(rows, loaded) for item in parts])
        names = [self._source[column.name].name for column in part.find_all(exp.Column)]
        rest: Kernel = lambda rows, loaded: join([item(rows, loaded) for item in costly])  # noqa: E731
        return lazy.both(cheap, rest, list(dict.fromkeys(names)), conjunction=is_and)

    def comparison(self, part: exp.Expr) -> Kernel:
        sign = _COMPARISONS[type(part)]
        one, other = self._pair(part)
        return lambda rows, loaded: compare.compare(sign, one(rows, loaded), other(rows, loaded))

    def _pair(self, part: exp.Expr) -> tuple[Kernel, Kernel]:
        return self.compile(part.this), self.compile(part.expression)

    def distinct(self, part: exp.Expr) -> Kernel:
        one, other = self._pair(part)
        if isinstance(part, exp.NullSafeNEQ):
            return lambda rows, loaded: compare.is_distinct(one(rows, loaded), other(rows, loaded))
        return lambda rows, loaded: logic.negation(
            compare.is_distinct(one(rows, loaded), other(rows, loaded))
        )

    def between(self, part: exp.Expr) -> Kernel:
        value, low, high = (self.compile(part.args[name]) for name in ("this", "low", "high"))

        def kernel(rows: pa.RecordBatch, loaded: dict[str, Vec]) -> Vec:
            found = value(rows, loaded)
            above = compare.compare(">=", found, low(rows, loaded))
            return logic.conjunction([above, compare.compare("<=", found, high(rows, loaded))])

        return kernel

    def membership(self, part: exp.Expr) -> Kernel:
        kind, items = self.type(part.this), part.expressions
        if not items or any(
            self.type(item).kind != kind.kind for item in items if not isinstance(item, exp.Null)
        ):
            raise Miss
        value = self.compile(part.this)
        choices = [self._null(kind) if isinstance(item, exp.Null) else self.compile(item) for item in items]
        return lambda rows, loaded: compare.is_in(
            value(rows, loaded), [choice(rows, loaded) for choice in choices]
        )

    def arithmetic(self, part: exp.Expr) -> Kernel:
        kind = self.type(part)
        if kind.kind in _TIME_KINDS:
            return self._time_shift(part)
        one, other = self._pair(part)
        if isinstance(part, exp.Div):
            return lambda rows, loaded: arithmetic.divide(one(rows, loaded), other(rows, loaded), kind)
        if isinstance(part, exp.IntDiv | exp.Mod):
            rest = isinstance(part, exp.Mod)
            return lambda rows, loaded: arithmetic.whole_divide(
                one(rows, loaded), other(rows, loaded), kind, remainder=rest
            )
        sign = _SUMS[type(part)]
        return lambda rows, loaded: arithmetic.combine(sign, one(rows, loaded), other(rows, loaded), kind)

    def _time_shift(self, part: exp.Expr) -> Kernel:
        amount = part.expression
        if self.type(part.this).kind == self.type(part).kind == "date" and self.type(amount).kind == INT:
            one, days = self._pair(part)
            forth = 1 if isinstance(part, exp.Add) else -1
            return lambda rows, loaded: time.shift_date(one(rows, loaded), days(rows, loaded), forth)
        if self.type(part).kind != "time" or not isinstance(part, exp.Add | exp.Sub):
            raise Miss
        if self.type(amount).sql != "INTERVAL":
            raise Miss
        inner, sign = self.compile(part.this), 1 if isinstance(part, exp.Add) else -1
        if any(True for _ in amount.find_all(exp.Column)):
            shift, count = self._varying(amount)
            return lambda rows, loaded: shift(inner(rows, loaded), count(rows, loaded), sign)
        micros = sign * self._length(amount)
        return lambda rows, loaded: time.shift(inner(rows, loaded), micros)

    def _varying(self, amount: exp.Expr) -> tuple[Callable[[Vec, Vec, int], Vec], Kernel]:
        """Return how a time is moved by a number of days or months that columns say, and the number."""
        while isinstance(amount, exp.Paren):
            amount = amount.this
        is_months = isinstance(amount, exp.Anonymous) and amount.name.lower() == "to_months"
        if not is_months and not isinstance(amount, exp.ToDays):
            raise Miss
        count = amount.expressions[0] if is_months else amount.this
        if self.type(count).kind != INT:
            raise Miss
        return time.shift_months if is_months else time.shift_days, self.compile(count)

    def _length(self, amount: exp.Expr) -> int:
        """Return a constant length of time in microseconds."""
        length = self._duck.constant(amount.sql(dialect="duckdb"))[0].as_py()
        if length is None or length[0]:
            raise Miss
        return int(length[1] * 86_400_000_000 + length[2] // 1000)

    def bucket(self, part: exp.DateBin) -> Kernel:
        width, others = part.this, {"this", "expression"}
        if self.type(part).kind != "time" or any(True for _ in width.find_all(exp.Column)):
            raise Miss
        if any(value for name, value in part.args.items() if name not in others):
            raise Miss
        if self.type(width).sql != "INTERVAL" or self.type(part.expression).sql != "TIMESTAMP":
            raise Miss
        inner, width_us = self.compile(part.expression), self._length(width)
        return lambda rows, loaded: time.bucket(inner(rows, loaded), width_us)

    def local_time(self, zone: exp.Expr, moment: exp.Expr) -> Kernel:
        """Compile `timezone(zone, timezone('UTC', time))`."""
        if not isinstance(moment, exp.Anonymous) or moment.name.lower() != "timezone":
            raise Miss
        utc, inner = moment.expressions
        if not (isinstance(utc, exp.Literal) and utc.is_string and utc.this == "UTC"):
            raise Miss
        if self.type(zone).kind != TEXT or self.type(inner).sql != "TIMESTAMP":
            raise Miss
        names, times = self.compile(zone), self.compile(inner)
        return lambda rows, loaded: zones.local_time(names(rows, loaded), times(rows, loaded))

    def sign(self, part: exp.Expr) -> Kernel:
        inner, kind = self.compile(part.this), self.type(part)
        if isinstance(part, exp.Sign):
            return lambda rows, loaded: arithmetic.sign(inner(rows, loaded))
        function = arithmetic.negative if isinstance(part, exp.Neg) else arithmetic.absolute
        return lambda rows, loaded: function(inner(rows, loaded), kind)

    def cast(self, part: exp.Expr) -> Kernel:
        if isinstance(part, exp.TryCast):
            raise Miss
        inner, kind = self.compile(part.this), self.type(part)
        if kind.kind == OTHER or self.type(part.this).kind == OTHER:
            raise Miss
        return lambda rows, loaded: casts.cast(inner(rows, loaded), kind)

    def case(self, part: exp.Expr) -> Kernel:
        kind = self.type(part)
        branches = [
            (self._condition(part, item), self._as(item.args["true"], kind)) for item in _branches(part)
        ]
        default = part.args.get("default") if isinstance(part, exp.Case) else part.args.get("false")
        last = self._null(kind) if default is None else self._as(default, kind)
        wanted = [] if default is None or not lazy.is_costly(default) else list(default.find_all(exp.Column))
        names = list(dict.fromkeys(self._source[column.name].name for column in wanted))

        def kernel(rows: pa.RecordBatch, loaded: dict[str, Vec]) -> Vec:
            conditions = [condition(rows, loaded) for condition, _ in branches]
            some = logic.disjunction(conditions)
            if names and np.ndim(some.data):
                chosen = some.data if some.valid is None else some.data & some.valid
                whole = lazy.on_rows(last, names, rows, ~chosen)
            else:
                whole = last(rows, loaded)
            for condition, (_, value) in zip(reversed(conditions), reversed(branches), strict=True):
                whole = logic.choose(condition, value(rows, loaded), whole)
            return whole

        return kernel

    def _condition(self, part: exp.Expr, branch: exp.Expr) -> Kernel:
        if isinstance(part, exp.Case) and part.this is not None:
            value, wanted = self.compile(part.this), self.compile(branch.this)
            return lambda rows, loaded: compare.compare("=", value(rows, loaded), wanted(rows, loaded))
        if self.type(branch.this).kind != BOOL:
            raise Miss
        return self.compile(branch.this)

    def _as(self, part: exp.Expr, kind: Type) -> Kernel:
        """Compile a part whose value is wanted as another type."""
        if isinstance(part, exp.Null):
            return self._null(kind)
        inner, own = self.compile(part), self.type(part)
        if own.sql == kind.sql:
            return inner
        if OTHER in (own.kind, kind.kind):
            raise Miss
        return lambda rows, loaded: casts.cast(inner(rows, loaded), kind)

    def _null(self, kind: Type) -> Kernel:
        if kind.kind == OTHER:
            raise Miss
        if kind.kind == "text":
            vec = Vec("text", pa.scalar(None, pa.string()))
        else:
            zero: Any = np.float64(0) if kind.kind == "float" else np.int64(0)
            vec = Vec(kind.kind, np.bool_(False) if kind.kind == BOOL else zero, np.bool_(False), kind.scale)
        return lambda _rows, _loaded: vec

    def coalesce(self, part: exp.Expr) -> Kernel:
        kind = self.type(part)
        parts = [self._as(item, kind) for item in [part.this, *part.expressions]]
        return lambda rows, loaded: logic.coalesce([item(rows, loaded) for item in parts])

    def null_if(self, part: exp.Expr) -> Kernel:
        one, other = self._pair(part)
        if self.type(part.this).sql != self.type(part).sql:
            raise Miss

        def kernel(rows: pa.RecordBatch, loaded: dict[str, Vec]) -> Vec:
            value = one(rows, loaded)
            return logic.null_if(value, compare.compare("=", value, other(rows, loaded)))

        return kernel

    def text(self, part: exp.Expr) -> Kernel:
        if isinstance(part, exp.Length) and _is_cut(part.this):
            whole, piece = self.compile(part.this.this), self.compile(part.this.expression)
            return lambda rows, loaded: text.length_without(whole(rows, loaded), piece(rows, loaded))
        function = _TEXT[type(part)]
        names = _ARGUMENTS.get(type(part), ("this", "expression"))
        items = [part.args[name] for name in names if part.args.get(name) is not None]
        if self.type(part.this).kind != "text" or part.args.get("escape") is not None:
            raise Miss
        inner = [self.compile(item) for item in items]
        found: Kernel = lambda rows, loaded: function(*[item(rows, loaded) for item in inner])  # noqa: E731
        if part.args.get("negate"):
            return lambda rows, loaded: logic.negation(found(rows, loaded))
        return found

    def regexp(self, part: exp.Expr) -> Kernel:
        subject, pattern = self._pair(part)
        if self.type(part.this).kind != "text":
            raise Miss
        if isinstance(part, exp.RegexpReplace):
            modifiers = part.args.get("modifiers")
            if modifiers is not None and modifiers.name != "g":
                raise Miss
            other, everywhere = self.compile(part.args["replacement"]), modifiers is not None
            return lambda rows, loaded: regexp.replace(
                subject(rows, loaded), pattern(rows, loaded), other(rows, loaded), everywhere=everywhere
            )
        if isinstance(part, exp.RegexpExtract):
            group = part.args.get("group")
            number = 0 if group is None else int(group.name)
            return lambda rows, loaded: regexp.extract(subject(rows, loaded), pattern(rows, loaded), number)
        if part.args.get("flag") is not None or part.args.get("options") is not None:
            raise Miss
        function = regexp.full_match if isinstance(part, exp.RegexpFullMatch) else regexp.matches
        return lambda rows, loaded: function(subject(rows, loaded), pattern(rows, loaded))

    def concat(self, part: exp.Expr) -> Kernel:
        if any(self.type(item).kind != "text" for item in part.expressions):
            raise Miss
        items = [self.compile(item) for item in part.expressions]
        return lambda rows, loaded: text.concat(*[item(rows, loaded) for item in items])

    def extreme(self, part: exp.Expr) -> Kernel:
        kind = self.type(part)
        items = [self._as(item, kind) for item in [part.this, *part.expressions]]
        largest = isinstance(part, exp.Greatest)
        return lambda rows, loaded: compare.extreme([item(rows, loaded) for item in items], largest=largest)

    def clock(self, part: exp.Expr) -> Kernel:
        unit, inner = _PARTS_OF_TIME[type(part)], self.compile(part.this)
        return lambda rows, loaded: time.part_of(unit, inner(rows, loaded))

    def written(self, part: exp.Expr) -> Kernel:
        form = part.args["format"]
        if not isinstance(form, exp.Literal) or self.type(part.this).kind not in _TIME_KINDS:
            raise Miss
        inner = self.compile(part.this)
        return lambda rows, loaded: time.text_of(inner(rows, loaded), form.this)

    def time(self, part: exp.Expr) -> Kernel:
        unit = part.args["unit"].name
        inner = self.compile(part.this)
        if self.type(part).kind == "date":
            return lambda rows, loaded: casts.cast(time.truncate(unit, inner(rows, loaded)), type_of("DATE"))
        return lambda rows, loaded: time.truncate(unit, inner(rows, loaded))

    def anonymous(self, part: exp.Expr) -> Kernel:
        name, items = part.name.lower(), part.expressions
        if name in ("date_part", "datepart") and isinstance(items[0], exp.Literal) and items[0].is_string:
            unit, inner = items[0].this, self.compile(items[1])
            return lambda rows, loaded: time.part_of(unit, inner(rows, loaded))
        if name == "prefix" and self.type(items[0]).kind == "text":
            one, other = self.compile(items[0]), self.compile(items[1])
            return lambda rows, loaded: text.starts_with(one(rows, loaded), other(rows, loaded))
        if name == "timezone" and len(items) == 2 and self.type(part).kind == "time":
            return self.local_time(items[0], items[1])
        raise Miss

    def field(self, part: exp.Dot) -> Kernel:
        """Compile `(x).name`, a field of a column that is a STRUCT."""
        inner, kind = part.this.unnest(), self.type(part)
        if not isinstance(inner, exp.Column) or kind.kind == OTHER:
            raise Miss
        column = self._source[inner.name]
        if not pa.types.is_struct(column.arrow):
            raise Miss
        names = [column.arrow.field(at).name.lower() for at in range(column.arrow.num_fields)]
        if names.count(part.expression.name.lower()) != 1:
            raise Miss
        place = [names.index(part.expression.name.lower())]
        return lambda rows, _loaded: load(pc.struct_field(rows.column(column.name), place), kind)

    def epoch(self, part: exp.Expr) -> Kernel:
        scale = part.args.get("scale")
        if self.type(part).kind != INT or scale is None or scale.name != "3":
            raise Miss
        inner = self.compile(part.this)
        return lambda rows, loaded: time.epoch_ms(inner(rows, loaded))


def _is_cut(part: exp.Expr) -> bool:
    """Whether a part is `replace(x, piece, '')`."""
    other = part.args.get("replacement") if isinstance(part, exp.Replace) else None
    return isinstance(other, exp.Literal) and other.is_string and other.this == ""


def _branches(part: exp.Expr) -> list[exp.Expr]:
    return list(part.args["ifs"]) if isinstance(part, exp.Case) else [part]


_TEXT: dict[type[exp.Expr], Callable[..., Vec]] = {
    exp.Lower: text.lower,
    exp.Upper: text.upper,
    exp.Length: text.length,
    exp.Like: text.like,
    exp.Contains: text.contains,
    exp.StartsWith: text.starts_with,
    exp.DPipe: text.join,
    exp.SplitPart: text.split_part,
    exp.Left: text.left,
    exp.Substring: text.substring,
    exp.Replace: text.replace,
}
_ARGUMENTS: dict[type[exp.Expr], tuple[str, ...]] = {
    exp.SplitPart: ("this", "delimiter", "part_index"),
    exp.Substring: ("this", "start", "length"),
    exp.Replace: ("this", "expression", "replacement"),
}
_PARTS_OF_TIME: dict[type[exp.Expr], str] = {
    exp.Year: "year",
    exp.Quarter: "quarter",
    exp.Month: "month",
    exp.Day: "day",
    exp.Hour: "hour",
    exp.Minute: "minute",
    exp.Second: "second",
}
_BUILDERS: tuple[tuple[Any, Callable[[_Compiler, Any], Kernel]], ...] = (
    ((exp.And, exp.Or, exp.Not, exp.Is), _Compiler.logical),
    (tuple(_COMPARISONS), _Compiler.comparison),
    ((exp.NullSafeEQ, exp.NullSafeNEQ), _Compiler.distinct),
    (exp.Between, _Compiler.between),
    (exp.In, _Compiler.membership),
    ((exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod), _Compiler.arithmetic),
    ((exp.Neg, exp.Abs, exp.Sign), _Compiler.sign),
    (exp.Cast, _Compiler.cast),
    ((exp.Case, exp.If), _Compiler.case),
    (exp.Coalesce, _Compiler.coalesce),
    (exp.Nullif, _Compiler.null_if),
    (tuple(_TEXT), _Compiler.text),
    ((exp.RegexpReplace, exp.RegexpExtract, exp.RegexpLike, exp.RegexpFullMatch), _Compiler.regexp),
    (exp.Concat, _Compiler.concat),
    ((exp.Greatest, exp.Least), _Compiler.extreme),
    (tuple(_PARTS_OF_TIME), _Compiler.clock),
    (exp.TimeToStr, _Compiler.written),
    (exp.TimestampTrunc, _Compiler.time),
    (exp.UnixToTime, _Compiler.epoch),
    (exp.DateBin, _Compiler.bucket),
    (exp.Dot, _Compiler.field),
    (exp.Anonymous, _Compiler.anonymous),
)
