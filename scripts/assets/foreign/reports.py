"""Papers that typesetters and an office make: what each shows, and what is asked about it."""

from scripts.assets.foreign.draft import Ask, Draft, absent_ask, cell_ask, field_ask
from scripts.assets.foreign.papers import look, money
from scripts.assets.foreign.words import (
    CURRENCIES,
    INGREDIENTS,
    JOBS,
    LAST,
    NOUNS,
    STREETS,
    TOPICS,
    TOWNS,
    Words,
    amount,
    plain,
)

_ROOMS = ("Aula", "Red room", "Cellar", "Loft", "Studio", "Library", "Tower", "Annexe", "Foyer", "Blue room")


def article(words: Words) -> Draft:
    """The first page of a paper with a table."""
    topic, authors = words.choice(TOPICS), words.people(2)
    school, mail = f"University of {words.town()}", words.email(authors[0])
    sites = words.sample(TOWNS, 5)
    rows = [
        (site, str(words.randint(12, 240)), f"{words.randint(10, 99) / 10}", f"{words.randint(1, 9) / 100:.2f}")
        for site in sites
    ]
    samples, years, share = words.randint(120, 4800), words.randint(2, 19), words.randint(11, 94)
    first, second = words.sample(rows, 2)
    means = [float(row[2]) for row in rows]
    asks = [
        field_ask("What is the title of the paper?", topic),
        field_ask("Who is the first author?", authors[0]),
        field_ask("Which university are the authors from?", school),
        field_ask("What is the e-mail address?", mail),
        Ask(kind="fact", question="How many samples were taken?", answer=str(samples), beside=("samples",)),
        Ask(kind="fact", question="Over how many years did the study go?", answer=str(years), beside=("years",)),
        cell_ask(f"What is the mean for {first[0]}?", first[2], first[0], "Mean"),
        cell_ask(f"What is the n of {second[0]}?", second[1], second[0], "n"),
        absent_ask("Who paid for the study?", "funded", "grant"),
    ]
    if means.count(max(means)) == 1:
        asks.append(
            Ask(
                kind="most",
                question="Which site has the highest mean?",
                answer=sites[means.index(max(means))],
                beside=("Mean",),
            )
        )
    return Draft(
        words={
            "topic": topic,
            "authors": authors,
            "school": school,
            "mail": mail,
            "rows": rows,
            "samples": samples,
            "years": years,
            "share": share,
        },
        asks=tuple(asks),
    )


def exam_plan(words: Words) -> Draft:
    """A plan of exams, ruled."""
    subjects = words.sample(
        (
            "Algebra",
            "Botany",
            "Geometry",
            "Greek",
            "Harmony",
            "Logic",
            "Optics",
            "Rhetoric",
            "Soil science",
            "Statics",
            "Surveying",
            "Zoology",
        ),
        6,
    )
    written = words.date_form()
    days = sorted(words.day(2025, 2026) for _ in subjects)
    rows = [
        (subject, written(day), words.clock(8, 16), words.fill("@ ###"), person.split()[-1])
        for subject, day, person in zip(subjects, days, words.people(6), strict=True)
    ]
    term, office = f"{words.choice(('Spring', 'Autumn'))} {words.randint(2021, 2027)}", words.phone()
    first, second, third, fourth = words.sample(rows, 4)
    asks = (
        cell_ask(f"In which room is the exam in {first[0]}?", first[3], first[0], "Room"),
        cell_ask(f"On which date is the exam in {second[0]}?", second[1], second[0], "Date"),
        cell_ask(f"At what time does {third[0]} begin?", third[2], third[0], "Time"),
        cell_ask(f"Who examines {fourth[0]}?", fourth[4], fourth[0], "Examiner"),
        Ask(
            kind="below",
            question=f"Which subject comes right after {subjects[1]}?",
            answer=subjects[2],
            beside=(subjects[1],),
        ),
        Ask(kind="row_with", question=f"Which exam is in room {first[3]}?", answer=first[0], beside=(first[3],)),
        field_ask("Which number has the exam office?", office, "Exam office"),
        absent_ask("How long does an exam take?", "minutes", "duration"),
    )
    return Draft(words={"rows": rows, "term": term, "office": office}, asks=asks)


def programme(words: Words) -> Draft:
    """The programme of a concert, set in the middle of a narrow sheet."""
    names = words.people(4)
    pieces = [
        (
            name.split()[-1],
            f"{words.choice(('Sonata', 'Quartet', 'Serenade', 'Rondo', 'Fantasia'))} No. {words.randint(1, 40)}",
            f"op. {words.randint(2, 140)}",
        )
        for name in names
    ]
    hall, conductor, written, day, hour = (
        f"{words.town()} {words.choice(('Hall', 'Abbey', 'Opera'))}",
        words.person(),
        words.date_form(),
        words.day(),
        words.clock(17, 21),
    )
    price = amount(words.randint(8, 90) * 100, words.choice(("GBP", "CHF", "PLN", "CZK")))
    first, second = words.sample(pieces, 2)
    asks = (
        field_ask("Who conducts?", conductor, "Conductor"),
        field_ask("Where does the concert take place?", hall),
        field_ask("When is the concert?", written(day), kind="date"),
        field_ask("At what time does it begin?", hour),
        field_ask(f"What is played by {first[0]}?", first[1], first[0]),
        field_ask(
            f"Which opus is the piece by {second[0]}?", second[2], second[0], also=(second[2].removeprefix("op. "),)
        ),
        Ask(
            kind="below",
            question=f"Whose piece comes right after that by {pieces[1][0]}?",
            answer=pieces[2][0],
            beside=(pieces[1][0],),
        ),
        field_ask("What does a seat cost?", price, "Seats", also=money(price)),
        absent_ask("Who plays the piano?", "piano"),
    )
    return Draft(
        words={
            "pieces": pieces,
            "hall": hall,
            "conductor": conductor,
            "day": written(day),
            "hour": hour,
            "price": price,
        },
        asks=asks,
    )


def receipt(words: Words) -> Draft:
    """A narrow till receipt."""
    currency, names = words.choice(CURRENCIES), words.sample(NOUNS + INGREDIENTS, 7)
    cents = words.values(7, 49, 4990)
    rows = [(name.capitalize(), amount(price, currency)) for name, price in zip(names, cents, strict=True)]
    given = (sum(cents) // 1000 + 1) * 1000
    shop, till, number, day, hour, cashier = (
        words.company(),
        str(words.randint(2, 19)),
        words.fill("########"),
        words.date_form()(words.day()),
        words.clock(),
        words.choice(LAST),
    )
    total = amount(sum(cents), currency)
    first, second = words.sample(rows, 2)
    asks = (
        field_ask(f"How much did the {first[0].lower()} cost?", first[1], first[0], kind="cell", also=money(first[1])),
        Ask(kind="row_with", question=f"What was bought for {second[1]}?", answer=second[0], beside=(second[1],)),
        Ask(kind="total", question="What is the total?", answer=total, beside=("Total",), also=money(total)),
        field_ask(
            "How much change was given?",
            amount(given - sum(cents), currency),
            "Change",
            also=money(amount(given - sum(cents), currency)),
        ),
        field_ask("What is the receipt number?", number, "Receipt"),
        field_ask("Who was the cashier?", cashier, "Cashier"),
        Ask(kind="most", question="What was the most expensive item?", answer=rows[cents.index(max(cents))][0]),
        absent_ask("How many loyalty points were earned?", "points", "loyalty"),
    )
    return Draft(
        words={
            **look(words, "Noto Sans Mono;Fira Code;DejaVu Sans Mono;Liberation Mono", "black", (15, 16, 17)),
            "rows": rows,
            "shop": shop, "till": till, "number": number, "day": day, "hour": hour, "cashier": cashier, "total": total,
            "given": amount(given, currency), "change": amount(given - sum(cents), currency), "street": words.street(),
        },
        asks=asks,
    )  # fmt: skip


def schedule(words: Words) -> Draft:
    """A day of talks in colored blocks."""
    hours = sorted(words.sample(range(16, 40), 6))
    topics = words.sample(TOPICS, 6)
    rows = [
        (f"{half // 2:02}:{half % 2 * 3}0", topic, person, words.choice(_ROOMS))
        for half, topic, person in zip(hours, topics, words.people(6), strict=True)
    ]  # fmt: skip
    place, day, wifi = words.town(), words.date_form()(words.day(2024, 2027)), words.fill("@@##@@##")
    first, second, third, fourth = words.sample(rows, 4)
    asks = (
        field_ask(f"Who speaks about “{first[1]}”?", first[2], first[1], kind="cell"),
        field_ask(f"When does the talk of {second[2]} begin?", second[0], second[2], kind="cell"),
        field_ask(f"Where is the talk of {third[2]}?", third[3], third[2], kind="cell"),
        Ask(kind="row_with", question=f"Which talk begins at {fourth[0]}?", answer=fourth[1], beside=(fourth[0],)),
        field_ask("What is the Wi-Fi password?", wifi, "Wi-Fi"),
        field_ask("On which day are the talks?", day, kind="date"),
        Ask(kind="rows", question="How many talks are listed?", answer="6", printed=False),
        absent_ask("Where is lunch?", "lunch"),
    )
    return Draft(
        words={
            **look(words, "Lato;PT Sans;Open Sans", "#2b6777 #7a4069 #a44a3f", (14, 15)),
            "rows": rows,
            "place": place,
            "day": day,
            "wifi": wifi,
        },
        asks=asks,
    )


def nutrition(words: Words) -> Draft:
    """What is in a food, per 100 g and per serving."""
    food, brand = words.choice(INGREDIENTS).capitalize(), words.company()
    serving = words.randint(15, 80)
    names = ("Fat", "of which saturates", "Carbohydrate", "of which sugars", "Fibre", "Protein", "Salt")
    rows = [
        (name, f"{value / 10} g", f"{value * serving / 1000:.1f} g")
        for name, value in zip(names, words.values(7, 3, 690), strict=True)
    ]
    energy, lot, best = f"{words.randint(150, 2600)} kJ", words.fill("L####@"), words.date_form()(words.day(2026, 2028))
    first, second, third = words.sample(rows, 3)
    asks = (
        cell_ask(
            f"How much {first[0].removeprefix('of which ').lower()} is in 100 g?",
            first[1],
            first[0],
            "100 g",
            (first[1].replace(" ", ""),),
        ),
        cell_ask(
            f"How much {second[0].removeprefix('of which ').lower()} is in a serving?",
            second[2],
            second[0],
            "serving",
            (second[2].replace(" ", ""),),
        ),
        cell_ask(
            f"How much {third[0].removeprefix('of which ').lower()} is in 100 g?",
            third[1],
            third[0],
            "100 g",
            (third[1].replace(" ", ""),),
        ),
        field_ask("What is the energy of 100 g?", energy, "Energy", also=(energy.replace(" ", ""),)),
        field_ask("How large is a serving?", f"{serving} g", "Serving size", also=(f"{serving}g",)),
        field_ask("What is the lot number?", lot, "Lot"),
        field_ask("What is the best before date?", best, "Best before", kind="date"),
        absent_ask("How much vitamin C does it contain?", "vitamin"),
    )
    return Draft(
        words={
            **look(words, "Tuffy;PT Sans;Carlito", "black", (15, 17)),
            "food": food,
            "brand": brand,
            "serving": serving,
            "rows": rows,
            "energy": energy,
            "lot": lot,
            "best": best,
        },
        asks=asks,
    )


def _western(text: str) -> bool:
    """Whether the faces of PostScript, which is all that groff has, hold its letters."""
    return all(ord(letter) < 256 for letter in text)


def memo(words: Words) -> Draft:
    """A typewritten memo."""
    reader, sender = [name for name in words.people(30) if _western(name)][:2]
    job, number, day = words.choice(JOBS), words.code(), words.date_form()(words.day())
    thing, count, place, hour = (
        words.choice(NOUNS),
        words.randint(12, 980),
        words.choice(list(filter(_western, STREETS))),
        words.clock(7, 18),
    )
    cost = amount(words.randint(5000, 990000), words.choice(("GBP", "CHF", "SEK", "USD")))
    asks = (
        field_ask("Who is the memo from?", sender, "From"),
        field_ask("Who is the memo to?", reader, "To"),
        field_ask("What is the file number?", number, "File"),
        field_ask("What is the date of the memo?", day, "Date", kind="date"),
        Ask(kind="fact", question="How many boxes have come in?", answer=str(count), beside=("boxes",)),
        Ask(kind="fact", question="Where are they stored?", answer=place, beside=("stored",)),
        Ask(kind="fact", question="What did they cost?", answer=cost, beside=("cost",), also=money(cost)),
        absent_ask("Who supplied the goods?", "supplier", "supplied"),
    )
    return Draft(
        words={
            "reader": reader,
            "sender": sender,
            "job": job,
            "number": number,
            "day": day,
            "thing": thing,
            "count": count,
            "place": place,
            "hour": hour,
            "cost": cost,
            "user": plain(sender),
            "family": words.choice("CTH"),
        },
        asks=asks,
    )
