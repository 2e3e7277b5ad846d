"""From files to MRR: a sheet of subscriptions, Stripe's lists, and the simulator's tables as CSV."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.solutions.billing.stripe_objects import listing, subscription

import headrace as hr
from headrace.errors import BadRequest
from headrace.solutions.billing.app import app
from headrace.solutions.billing.sheet import receive
from headrace.solutions.billing.simulate.sample import write_sample

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SHEET = """\
Customer,Amount,Currency,Start,Interval,Quantity,Trial_end,Canceled,End,Product,Country
Ada,49.00,EUR,2026-01-01,month,2,,,,Team,DE
Bo,600,usd,2026-01-15,year,,2026-02-01,,,Team,US
Cy,1000,jpy,2026-01-31,,,,2026-02-10,2026-03-01T09:00:00+09:00,,JP

Di,5,kwd,2026-02-01,month,3,,2026-03-01,,,
"""


@pytest.fixture(scope="module")
def run() -> Iterator[Any]:
    with app.open(None) as opened:
        yield opened


def movements(run: Any, merchant: str) -> list[tuple[Any, ...]]:
    run.advance()
    rows = run.query(
        "SELECT day, customer_id, type, amount, currency FROM mrr_movements WHERE merchant_id = ? "
        "ORDER BY ALL",
        [merchant],
    ).to_pylist()
    return [tuple(row.values()) for row in rows]


def test_from_a_sheet_to_mrr(run: Any) -> None:
    run.receive("sheet", SHEET.encode(), params={"merchant": "acme"})
    wanted = [
        (date(2026, 1, 1), "Ada", "new", 9_800, "eur"),
        (date(2026, 1, 31), "Cy", "new", 1_000, "jpy"),
        (date(2026, 2, 1), "Bo", "new", 5_000, "usd"),
        (date(2026, 2, 1), "Di", "new", 15_000, "kwd"),
        (date(2026, 3, 1), "Cy", "churn", -1_000, "jpy"),
    ]
    assert movements(run, "acme") == wanted
    run.receive("sheet", SHEET.encode(), params={"merchant": "acme"})
    assert movements(run, "acme") == wanted
    assert movements(run, "default") == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("Ada,much,EUR,2026-01-01", r"line 2, column B \(amount\): 'much' is no amount .*leave"),
        ("Ada,-1,EUR,2026-01-01", "'-1' is no amount .*leave credits out"),
        ("Ada,1,EUR,soon", r"column D \(start\): 'soon' is no time"),
        ("Ada,1,EUR,9999-12-31", "not of the years"),
        ("Ada,1,,2026-01-01", "currency is empty"),
        ("Ada,1,EUR,2026-01-01,fortnight", "'fortnight' is no interval"),
        ("Ada,1,EUR,2026-01-01,month,0", r"\(interval_count\): '0' is no whole number from 1 to 10,000"),
        ("Ada,1,EUR,2026-01-01,month,1,-2", r"\(quantity\): '-2'"),
        ("Ada,1,EUR,2026-01-01,month,1,2.5", "'2.5' is no whole number"),
        ("Ada,1,EUR,2026-01-01,month,1,many", "'many' is no whole number"),
        ('Ada,1,EUR,2026-01-01,month,1,"1,000"', r"\(quantity\): '1,000' may be 1000 or 1.000"),
        ("Ada,1,EUR,2026-01-01,3 months,3", "'3 months', and interval_count says 3"),
        ("Ada,1,UDS,2026-01-01", "'UDS' is no currency .*is it USD"),
        ("Ada,1 €,USD,2026-01-01", "'1 €' is not of the line's currency USD"),
        ("Ada,10000000000,EUR,2026-01-01", r"room for \(look at both; an amount is less than 10,000,000,000"),
        ("Ada,9000000000,EUR,2026-01-01,month,1,1000000", "amount and quantity come to less than"),
        ("Ada,0.000000000000001,EUR,2026-01-01", "more decimals than there is room for"),
        ("Ada,1,DOLLARS,2026-01-01", "'DOLLARS' is no currency"),
        ('Ada,"1,234",EUR,2026-01-01', "'1,234' may be 1234 or 1.234"),
        ("Ada,1,EUR,1/2/2026", "may begin with the day or with the month"),
        ("Ada,1,EUR,2026-01-01,month,1,1,,,,00", "11 cells, but there are 10 columns"),
        ("\n\nAda,1,EUR,soon", "line 4, .*'soon'"),
        ("Ada,x,EU,2026-01-01\nBo,1,EUR,soon", "(?s)2 lines cannot.*'x'.*'EU'.*line 3.*'soon'.*whole file"),
        ("Ada,1,EUR,2026-01-01\nAda,2,EUR,2026-01-01", r"line 3, .*'2', but line 2 says '1' of the same"),
        ("Ada,1,EUR,2026-01-01,month,1,1,2025-01-01", "ends .* before it starts"),
        (
            "Ada,1,EUR,2026-01-01,month,1,1,2026-06-01,a\nAda,2,EUR,2026-03-01,month,1,1,,a",
            r"line 3, column D \(start\): it starts \(2026-03-01\) before it ends \(2026-06-01\) as line 2",
        ),
        (
            "Ada,1,EUR,2026-01-01,month,1,1,,Pro plan\nBo,2,EUR,2026-03-01,month,1,1,,Pro plan",
            r"line 3, column A \(customer\): 'Bo', but line 2 says 'Ada' of the same subscription",
        ),
        (
            "Ada,1,EUR,2026-01-01,month,1,1,,a,DE\nAda,1,EUR,2026-01-01,month,1,1,,b,FR",
            "line 3, .*'FR', but line 2 says 'DE' of customer Ada",
        ),
        ('Ada,1,EUR,2026-01-01\nBo,1,EUR,"2026', "line 3: the sheet cannot be read"),
    ],
)
def test_a_line_that_cannot_be_is_named_and_nothing_is_taken(line: str, problem: str) -> None:
    head = "customer,amount,currency,start,interval,interval_count,quantity,end,subscription,country\n"
    with pytest.raises(BadRequest, match=problem):
        receive(hr.Delivery(f"{head}{line}\n".encode(), NOW))


def test_every_wrong_line_is_told_however_many() -> None:
    lines = "".join(f"Ada,{'x' if at % 100 else 5},EUR,2026-01-01\n" for at in range(100, 250))
    with pytest.raises(BadRequest, match=r"(?s)148 lines .*and more in lines 53-101, 103-151") as caught:
        receive(hr.Delivery(f"customer,amount,currency,start\n{lines}".encode(), NOW))
    assert caught.value.details["wrong"][0]["line"] == 3


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        ("customer,amount,currency,start,intervall", "'intervall' in a sheet; is it 'interval'"),
        ("Customer ID,amount,currency,start", "is it 'customer'"),
        ("customer,amount,currency,start_date", "is it 'start'"),
        ("customer,amount,currency,start,cancelled", "is it 'canceled'"),
        ("customer,amount,currency,start,Amount", "two columns are headed 'amount'"),
        (
            "Client,Amount,Start Date",
            "(?s)'start_date' in a sheet; is it 'start'.*no column customer and no column currency; its",
        ),
        ("Kunde,Betrag,currency,start", "no column customer and no column amount; its headings are kunde"),
    ],
)
def test_a_heading_that_would_be_passed_over_is_told(head: str, problem: str) -> None:
    with pytest.raises(BadRequest, match=problem):
        receive(hr.Delivery(f"{head}\n".encode(), NOW))


def test_a_sheet_as_a_spreadsheet_saves_it(run: Any) -> None:
    """The same lines from an office in Europe, one in America, and as plain as can be: the same MRR."""
    plain = (
        "customer,amount,currency,interval,start,end,note\n"
        "Anvil,1234.50,EUR,month,2025-12-31,,a\nBolt,600,EUR,year,2026-01-10,,\n"
        "Bolt,600,EUR,year,2026-01-10,,\nCrate,1500,EUR,month,2026-02-01,2026-03-12,\n"
    )
    european = (
        "Customer;Amount;Currency;Interval;Start;End;Note;\r\nAnvil;1.234,50;EUR;Month;31.12.2025;;a;\r\n"
        "Bolt;600,00;EUR;year;10.01.2026;;;\r\nBolt;600,00;EUR;year;10.01.2026;;;\r\n"
        "Crate;1.500;EUR;month;1.2.2026;12.3.2026;;\r\n;;;;;;;\r\n\r\n"
    )
    american = (
        "sep=,\nCustomer,Amount,Currency,Interval,Start,End,Note\n"
        'Anvil,"1,234.50",eur,month,12/31/2025,,a\nBolt,600.00,eur,year,1/10/2026,,\n'
        'Bolt,600.00,eur,year,1/10/2026,,\nCrate,"1,500",eur,month,2/1/2026,3/12/2026,\n'
    )
    bodies = {"plain": plain.encode(), "de": b"\xef\xbb\xbf" + european.encode()}
    bodies |= {"us": american.replace("\n", "\r").encode(), "wide": european.encode("utf-16")}
    for merchant, body in bodies.items():
        run.receive("sheet", body, params={"merchant": merchant})
    found = [movements(run, merchant) for merchant in bodies]
    assert found[0][0] == (date(2025, 12, 31), "Anvil", "new", 123_450, "eur")
    assert [row[2:4] for row in found[0]] == [
        ("new", 123_450),
        ("new", 5_000),
        ("new", 150_000),
        ("churn", -150_000),
    ]
    assert all(other == found[0] for other in found[1:])


FULL = "subscription,customer,amount,currency,interval,start,trial_end,canceled,end,customer_name,quantity\n"
JANUARY, MARCH = date(2026, 1, 5), date(2026, 3, 1)


@pytest.mark.parametrize(
    ("name", "before", "after", "wanted"),
    [
        ("amount", "10,usd,month,2026-01-05", "12,usd,month,2026-01-05", [(JANUARY, "new", 1_200, "usd")]),
        ("interval", "120,usd,month,2026-01-05", "120,usd,year,2026-01-05", [(JANUARY, "new", 1_000, "usd")]),
        ("currency", "10,usd,month,2026-01-05", "10,eur,month,2026-01-05", [(JANUARY, "new", 1_000, "eur")]),
        ("quantity", "10,usd,,2026-01-05,,,,,2", "10,usd,,2026-01-05,,,,,3",
         [(JANUARY, "new", 3_000, "usd")]),
        (
            "a later end",
            "10,usd,,2026-01-05,,,2026-02-01",
            "10,usd,,2026-01-05,,,2026-03-01",
            [(JANUARY, "new", 1_000, "usd"), (MARCH, "churn", -1_000, "usd")],
        ),
        ("no end", "10,usd,,2026-01-05,,2026-02-01,2026-03-01", "10,usd,,2026-01-05",
         [(JANUARY, "new", 1_000, "usd")]),
        ("no trial", "10,usd,,2026-01-05,2026-02-01", "10,usd,,2026-01-05", [(JANUARY, "new", 1_000, "usd")]),
        ("a trial of no length", "10,usd,,2026-03-01,2026-03-09", "10,usd,,2026-03-01,2026-03-01",
         [(MARCH, "new", 1_000, "usd")]),
        ("never begun", "10,usd,,2026-01-05", "10,usd,,2026-01-05,,,2026-01-05", []),
    ],
)  # fmt: skip
@pytest.mark.parametrize("subscription", ["", "s1"])
def test_a_corrected_sheet_takes_the_place_of_the_one_before(
    run: Any, subscription: str, name: str, before: str, after: str, wanted: list[tuple[Any, ...]]
) -> None:
    told = {"merchant": f"corrected {name}{subscription}"}
    for line in (before, after, before, after):
        done = run.receive("sheet", f"{FULL}{subscription},Ada,{line}\n".encode(), params=told)
        assert not any(one.rejected for one in done)
    found = [(day, kind, amount, of) for day, _, kind, amount, of in movements(run, told["merchant"])]
    assert found == wanted


def test_a_corrected_name_is_the_customers(run: Any) -> None:
    for name in ("Adda", "Ada"):
        body = f"{FULL},ada,10,usd,month,2026-01-05,,,,{name}\n".encode()
        run.receive("sheet", body, params={"merchant": "renamed"})
    run.advance()
    known = "SELECT name FROM customers WHERE merchant_id = 'renamed'"
    assert run.query(known).column(0).to_pylist() == ["Ada"]


def test_of_two_sheets_the_one_that_was_written_later_is_right(run: Any) -> None:
    sheets = [("2026-06-01", "12"), ("2026-05-01T09:00:00+02:00", "10"), ("2026-06-01", "12")]
    done = []
    for written, amount in sheets:
        told = {"merchant": "late", "exported_at": written}
        body = f"{FULL}s1,Ada,{amount},usd,month,2026-01-05\n".encode()
        done.append(run.receive("sheet", body, params=told))
    assert [row[3] for row in movements(run, "late")] == [1_200]
    assert sum(one.accepted for one in done[2]) == 0
    with pytest.raises(BadRequest, match="'soon' is no time"):
        run.receive("sheet", body, params={"exported_at": "soon"})


@pytest.mark.parametrize("start", ["2026-01-05 00:00:00", "20260105", "05.01.2026 0:00", "2026-01-05T00:00Z"])
def test_a_day_is_one_however_it_is_written(run: Any, start: str) -> None:
    told = {"merchant": f"day {start}"}
    for text in ("2026-01-05", start):
        run.receive("sheet", f"customer,amount,currency,start\nAda,4,EUR,{text}\n".encode(), params=told)
    assert movements(run, told["merchant"]) == [(date(2026, 1, 5), "Ada", "new", 400, "eur")]


def test_a_subscription_may_go_on_where_another_line_ends_it(run: Any) -> None:
    lines = "s1,Ada,30,usd,month,2026-03-01\ns1,Ada,10,usd,month,2026-01-05,,,2026-03-01\n"
    done = run.receive("sheet", (FULL + lines).encode(), params={"merchant": "goes on"})
    assert not any(one.rejected for one in done)
    found = [(row[0], row[3]) for row in movements(run, "goes on") if not row[2].startswith("transfer")]
    assert found == [(date(2026, 1, 5), 1_000), (date(2026, 3, 1), 2_000)]


def test_equal_lines_are_one_subscription_and_named_ones_are_two(run: Any) -> None:
    head = "subscription,customer,amount,currency,start\n"
    lines = ["a,Ada,4,EUR,2026-01-01", "a,Ada,4,EUR,2026-01-01", "b,Ada,3,EUR,2026-01-01", ""]
    run.receive("sheet", (head + "\n".join(lines)).encode(), params={"merchant": "equal"})
    day = date(2026, 1, 1)
    assert movements(run, "equal") == [(day, "Ada", "new", 300, "eur"), (day, "Ada", "new", 400, "eur")]


def test_what_a_line_leaves_out_of_a_customer_another_says(run: Any) -> None:
    head = "subscription,customer,amount,currency,start,country\n"
    lines = [
        "a,Ada,4,EUR,2026-01-01,",
        "b,Ada,4,EUR,2026-02-01,DE",
        "c,Ada,3,EUR,2026-02-01,",
        "d,Ada,3,EUR,2026-03-01,",
        "e,Bo,3,EUR,2026-01-01,FR",
        "f,Bo,3,EUR,2026-02-01,US",
    ]
    done = run.receive("sheet", (head + "\n".join(lines)).encode(), params={"merchant": "told"})
    assert not any(one.rejected for one in done)
    run.advance()
    versions = (
        "SELECT customer_id, month(valid_from) AS month, country FROM customers__history "
        "WHERE merchant_id = 'told' ORDER BY ALL"
    )
    found = [tuple(row.values()) for row in run.query(versions).to_pylist()]
    assert found == [("Ada", 1, "DE"), ("Ada", 2, "DE"), ("Ada", 3, "DE"), ("Bo", 1, "FR"), ("Bo", 2, "US")]


def test_a_sheet_in_another_currency_reports_in_it(run: Any) -> None:
    body = "\ufeffcustomer;amount;currency;start\nAda;4.50;EUR;2026-01-01\n".encode()
    run.receive("sheet", body, params={"merchant": "euros"})
    run.advance()
    asked = {"merchant": "euros", "since": "2026-01-01", "until": "2026-01-31"}
    month = run.ask("metrics", asked).table.to_pylist()[0]
    assert (month["currency"], month["mrr"]) == ("eur", 450)


def test_a_later_sheet_leaves_the_reporting_currency_as_it_is(run: Any) -> None:
    told = {"merchant": "grown"}
    first = b"customer,amount,currency,start\nAda,4.50,EUR,2026-01-01\n"
    later = b"customer,amount,currency,start\nBo,5,USD,2026-01-01\nCy,6,USD,2026-01-01\n"
    empty = b"customer,amount,currency,start\n"
    for body in (empty, first, later, empty, later):
        run.receive("sheet", body, params=told)
    event = {
        "id": "evt_1",
        "object": "event",
        "type": "x.y",
        "created": 1_767_225_600,
        "data": {"object": {}},
    }
    run.receive("stripe_export", json.dumps(event).encode(), params=told)
    run.advance()
    known = "SELECT reporting_currency FROM merchants WHERE merchant_id = 'grown'"
    assert run.query(known).column(0).to_pylist() == ["eur"]


def test_a_sheet_of_exchange_rates(run: Any) -> None:
    body = (
        "\ufeffDay;Currency;Rate\r\n31.01.2026;NOK;10,25\r\n1.2.2026;nok;10,3\r\n1.2.2026;NOK;10,30\r\n;;\r\n"
    )
    (done,) = run.receive("sheet", body.encode())
    assert (done.accepted, done.rejected) == (2, 0)
    run.advance()
    found = run.query("SELECT day, rate FROM fx_rates WHERE currency = 'nok' ORDER BY day").to_pylist()
    assert [(row["day"], float(row["rate"])) for row in found] == [
        (date(2026, 1, 31), 10.25),
        (date(2026, 2, 1), 10.3),
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("2026-01-31,EUR,", r"line 2, column C \(rate\): rate is empty"),
        ("2026-01-31,EUR,0", "'0' is no rate"),
        ("2026-01-31,EUR,0.123456789", "no rate"),
        ("2026-01-31,EUR,1\n2026-01-31,eur,2", "line 3, .*'2', but line 2 says 1"),
        ("1/2/2026,EUR,1", "day or with the month"),
        ("2026-01-31,EUR,much", "'much' is no rate"),
        ("2026-01-31,EUR,-0.92", "'-0.92' is no rate .it must not be below nothing"),
        ("2026-01-31,USD,1.09", "'1.09' is no rate of the US dollar to itself .*turn them round"),
    ],
)
def test_a_rate_that_cannot_be_is_named_and_nothing_is_taken(line: str, problem: str) -> None:
    with pytest.raises(BadRequest, match=problem):
        receive(hr.Delivery(f"day,currency,rate\n{line}\n".encode(), NOW))


@pytest.mark.parametrize("source", ["sheet", "stripe_export"])
@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"merchnt": "acme"}, r"(?s)no parameter 'merchnt'.*did you mean 'merchant'"),
        ({"colour": "red"}, r"(?s)no parameter 'colour'\n  expected: merchant, exported_at$"),
        ({"merchant": " acme"}, "cannot be a merchant's id"),
        ({"exported_at": "31.12.2025"}, "'31.12.2025' is no time"),
    ],
)
def test_an_address_that_says_something_else_is_refused(
    run: Any, source: str, params: dict[str, str], problem: str
) -> None:
    with pytest.raises(BadRequest, match=problem):
        run.receive(source, b"", params=params)


def test_a_sheet_of_rates_without_a_column_is_told_as_one() -> None:
    with pytest.raises(
        BadRequest, match="the sheet of rates has no column day; its headings are date, currency"
    ):
        receive(hr.Delivery(b"Date;Currency;Rate\n01.01.2026;EUR;0,92\n", NOW))


@pytest.mark.parametrize("body", [b"", b"customer,amount\n", b"\xff\xfe"])
def test_a_sheet_without_its_columns_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        receive(hr.Delivery(body, NOW))


def test_from_stripes_lists_to_mrr(run: Any) -> None:
    body = json.dumps(listing(subscription("active"))).encode()
    params = {"merchant": "exported", "exported_at": "2026-06-01T00:00:00Z"}
    run.receive("stripe_export", body, params=params)
    assert movements(run, "exported") == [(date(2026, 1, 1), "cus_1", "new", 2_000, "usd")]
    with pytest.raises(BadRequest, match="no time"):
        run.receive("stripe_export", body, params={"exported_at": "soon"})
    with pytest.raises(BadRequest, match=r"notes.txt: line 1 is not JSON"):
        run.receive("stripe_export", b"hello", params={"file": "notes.txt"})
    lacking = json.dumps(subscription("active") | {"customer": None}).encode()
    with pytest.raises(BadRequest, match=r"a.json, sub_1: a subscription without customer"):
        run.receive("stripe_export", lacking, params={"file": "a.json"})
    with pytest.raises(BadRequest, match="UTF-8"):
        run.receive("stripe_export", b"\xff")


def test_the_simulators_tables_as_files(tmp_path: Path) -> None:
    from headrace.sources.files import FileSource
    from headrace.sources.replay import replay

    count = write_sample(tmp_path, merchants=2, customers=5)
    with app.open(None) as run:
        loaded = 0
        for file in sorted(tmp_path.iterdir()):
            verb: Any = "append" if file.stem in app.streams else "upsert"
            done = replay(run, file.stem, FileSource(file), verb=verb)
            assert done.rejected == 0, file
            loaded += done.accepted + done.repeated
        run.advance()
        assert loaded == count
        assert run.query("SELECT count(*) AS n FROM mrr_movements").to_pylist()[0]["n"] > 10
