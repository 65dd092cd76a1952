"""Papers and sheets of an office: what each shows, and what is asked about it."""

from scripts.assets.foreign.draft import Ask, Draft, absent_ask, cell_ask, field_ask
from scripts.assets.foreign.papers import look, money
from scripts.assets.foreign.words import CURRENCIES, MONTHS, Words, amount


def minutes(words: Words) -> Draft:
    """Minutes of a meeting with a table of what is to be done."""
    people = words.people(5)
    tasks = words.sample(
        (
            "Paint the fence",
            "Order new chairs",
            "Repair the boiler",
            "Print the leaflets",
            "Book the hall",
            "Audit the till",
            "Mow the lawn",
            "Call the insurer",
            "Renew the licence",
        ),
        4,
    )
    written = words.date_form()
    rows = [(task, person, written(words.day(2025, 2027))) for task, person in zip(tasks, people, strict=False)]
    club, day, place = (
        f"{words.town()} {words.choice(('Chess Club', 'Beekeepers', 'Brass Band', 'Cycling Society'))}",
        written(words.day(2024, 2025)),
        words.street(),
    )
    present, cash = str(words.randint(7, 48)), amount(words.randint(9000, 900000), words.choice(CURRENCIES))
    first, second, third = words.sample(rows, 3)
    asks = (
        field_ask("Who took the minutes?", people[4], "Minutes by"),
        field_ask("Where did the meeting take place?", place, "Place"),
        field_ask("When was the meeting?", day, "Held on", kind="date"),
        cell_ask(f"Who is to do the task “{first[0]}”?", first[1], first[0], "Who"),
        cell_ask(f"By when is “{second[0]}” to be done?", second[2], second[0], "By"),
        Ask(kind="row_with", question=f"What is the task of {third[1]}?", answer=third[0], beside=(third[1],)),
        Ask(kind="fact", question="How many members were present?", answer=present, beside=("members",)),
        Ask(kind="fact", question="How much is in the cash box?", answer=cash, beside=("cash box",), also=money(cash)),
        absent_ask("When is the next meeting?", "next"),
    )
    return Draft(
        words={
            **look(words, "Caladea;Carlito;Liberation Serif;PT Sans", "#1f4e79 #833c0b #375623", (13, 14)),
            "rows": rows,
            "club": club,
            "day": day,
            "place": place,
            "present": present,
            "cash": cash,
            "clerk": people[4],
        },
        asks=asks,
    )


def order(words: Words) -> Draft:
    """The confirmation of an order."""
    currency, buyer, clerk = words.choice(CURRENCIES), *words.people(2)
    names = words.products(4)
    cents = words.values(4, 900, 49900)
    rows = [
        (str(place), name, words.code(), amount(price, currency))
        for place, (name, price) in enumerate(zip(names, cents, strict=True), start=1)
    ]
    seller, number, weeks, email = words.company(), words.fill("PO-####-##"), words.randint(2, 26), words.email(clerk)
    total = amount(sum(cents), currency)
    first, second = words.sample(rows, 2)
    asks = (
        field_ask("What is the order number?", number, "Order"),
        field_ask("Who ordered?", buyer, "Ordered by"),
        field_ask("Who is the contact?", clerk, "Contact"),
        field_ask("Which e-mail address is given?", email),
        cell_ask(f"What is the article number of the {first[1]}?", first[2], first[1], "Article"),
        cell_ask(f"How much is the {second[1]}?", second[3], second[1], "Price", money(second[3])),
        Ask(kind="total", question="What is the sum of the order?", answer=total, beside=("Sum",), also=money(total)),
        Ask(
            kind="fact",
            question="How many weeks does delivery take?",
            answer=str(weeks),
            beside=("weeks",),
            also=(f"{weeks} weeks",),
        ),
        absent_ask("What is the VAT number?", "VAT"),
    )
    return Draft(
        words={
            **look(words, "Liberation Sans;Lato;Gentium Plus", "#5f0f40 #0f4c5c #444444", (13, 14)),
            "rows": rows,
            "buyer": buyer,
            "clerk": clerk,
            "seller": seller,
            "number": number,
            "weeks": weeks,
            "email": email,
            "total": total,
        },
        asks=asks,
    )


def budget(words: Words) -> Draft:
    """A sheet of costs by month."""
    posts = words.sample(
        ("Rent", "Wages", "Paint", "Fuel", "Insurance", "Postage", "Travel", "Repairs", "Software", "Catering"), 6
    )
    start = words.randrange(9)
    months = [month[:3] for month in MONTHS[start : start + 3]]
    values = [words.values(3, 40, 9800) for _ in posts]
    rows = [(post, *(f"{value:,}" for value in line)) for post, line in zip(posts, values, strict=True)]
    sums = [f"{sum(line[place] for line in values):,}" for place in range(3)]
    month, place, (first, second) = words.choice(months), words.randrange(3), words.sample(range(6), 2)
    column = [line[months.index(month)] for line in values]
    title, currency = (
        f"Costs of {words.choice(('workshop', 'festival', 'clinic', 'bakery'))} {words.town()}",
        words.choice(CURRENCIES),
    )
    asks = (
        cell_ask(
            f"How much is {posts[first]} in {months[place]}?", rows[first][place + 1], posts[first], months[place]
        ),
        cell_ask(
            f"How much is {posts[second]} in {month}?", rows[second][months.index(month) + 1], posts[second], month
        ),
        Ask(
            kind="total",
            question=f"What is the total of {months[place]}?",
            answer=sums[place],
            beside=("Total", months[place]),
        ),
        Ask(
            kind="most",
            question=f"What is the largest cost in {month}?",
            answer=posts[column.index(max(column))],
            beside=(month,),
        ),
        Ask(kind="below", question=f"Which cost stands right below {posts[2]}?", answer=posts[3], beside=(posts[2],)),
        field_ask("In which currency are the costs?", currency),
        field_ask("What is the title of the sheet?", title),
        absent_ask("How much was spent on advertising?", "advertising"),
    )
    return Draft(
        words={
            **look(words, "Carlito;Liberation Sans;Open Sans", "#dbe5f1 #fde9d9 #e2efda", (14, 16)),
            "rows": rows,
            "sums": sums,
            "months": months,
            "title": title,
            "currency": currency,
        },
        asks=asks,
    )


def shifts(words: Words) -> Draft:
    """A week of shifts by person."""
    people, days = [name.split()[0] for name in words.people(7)], ("Mon", "Tue", "Wed", "Thu", "Fri")
    rows = [
        (
            name,
            *(words.choice(("early", "late", "night", "off", words.fill("#-1#"), words.fill("@#"))) for _ in days),
            words.fill("ext. ###"),
        )
        for name in people
    ]
    week, ward = (
        str(words.randint(1, 52)),
        f"{words.choice(('Ward', 'Depot', 'Kitchen', 'Station'))} {words.fill('@#')}",
    )
    cells = words.sample([(row, place) for row in rows for place in range(5)], 3)
    other = words.choice(rows)
    asks = (
        *(
            cell_ask(f"Which shift does {row[0]} have on {days[place]}?", row[place + 1], row[0], days[place])
            for row, place in cells
        ),
        cell_ask(
            f"What is the extension of {other[0]}?", other[6], other[0], "Phone", (other[6].removeprefix("ext. "),)
        ),
        field_ask("Which week is the plan for?", week, "Week"),
        field_ask("What is the plan for?", ward, "Shifts"),
        Ask(kind="below", question=f"Who is listed right after {people[3]}?", answer=people[4], beside=(people[3],)),
        absent_ask("Who works on Sunday?", "Sun", "Sunday"),
    )
    return Draft(
        words={
            **look(words, "Liberation Sans;PT Sans;Noto Sans", "#fff2cc #ddebf7 #e4dfec", (14, 15)),
            "rows": rows,
            "days": days,
            "week": week,
            "ward": ward,
        },
        asks=asks,
    )
