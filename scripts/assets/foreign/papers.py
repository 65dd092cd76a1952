"""Papers that a web browser prints: what each shows, and what is asked about it."""

from typing import Any

from scripts.assets.foreign.draft import Ask, Draft, absent_ask, cell_ask, field_ask
from scripts.assets.foreign.words import COUNTRIES, CURRENCIES, JOBS, NOUNS, Words, amount

AIRPORTS = {
    "KRK": "Kraków",
    "BGO": "Bergen",
    "OPO": "Porto",
    "AGP": "Málaga",
    "GRZ": "Graz",
    "SZZ": "Szczecin",
    "MLA": "Malta",
    "ORK": "Cork",
    "TRD": "Trondheim",
    "GOT": "Göteborg",
    "WRO": "Wrocław",
    "BIO": "Bilbao",
}


def look(words: Words, fonts: str, hues: str, sizes: tuple[int, ...]) -> dict[str, Any]:
    """One of the faces, colors and sizes (pixels of the view) that a layout comes in."""
    return {
        "font": words.choice(fonts.split(";")),
        "hue": words.choice(hues.split()),
        "size": words.choice(sizes),
    }


def money(text: str) -> tuple[str, ...]:
    """An amount without its currency, which is as right an answer."""
    bare = "".join(sign for sign in text if sign.isdigit() or sign in ".,'")
    return (bare,) if bare != text else ()


def invoice(words: Words) -> Draft:
    """A web shop's invoice."""
    buyer, currency, written = words.person(), words.choice(CURRENCIES), words.date_form()
    day = words.day()
    items = [(name, words.randint(1, 9), words.randint(390, 18990)) for name in words.products(words.randint(3, 5))]
    rows = [
        (name, str(count), amount(price, currency), amount(count * price, currency)) for name, count, price in items
    ]
    net, delivery = sum(count * price for _, count, price in items), words.randint(290, 1490)
    total, due = amount(net + delivery, currency), written(day.replace(day=min(day.day, 28), year=day.year + 1))
    shop, number, customer = words.company(), words.code(), words.fill("K-#####")
    street, town, iban = words.street(), f"{words.postcode()} {words.town()}", words.iban()
    picked, other = words.sample(range(len(rows)), 2)
    asks = (
        field_ask("What is the invoice number?", number, "Invoice no."),
        field_ask("When was the invoice issued?", written(day), "Date", kind="date"),
        field_ask(
            "How much is the delivery?", amount(delivery, currency), "Delivery", also=money(amount(delivery, currency))
        ),
        Ask(kind="total", question="What is the total to pay?", answer=total, beside=("Total",), also=money(total)),
        field_ask("What is the IBAN?", iban, "IBAN"),
        field_ask("Who is the invoice addressed to?", buyer, "Bill to"),
        cell_ask(f"How many of the item {rows[picked][0]} were ordered?", rows[picked][1], rows[picked][0], "Qty"),
        cell_ask(
            f"What does one {rows[other][0]} cost?", rows[other][2], rows[other][0], "Unit price", money(rows[other][2])
        ),
        absent_ask("What is the discount code?", "discount"),
    )
    shown = look(words, "Lato;Open Sans;PT Sans;Noto Sans", "#0b6e4f #8a1c7c #1d4e89 #b23a48", (12, 13, 14))
    return Draft(
        words={
            **shown,
            "shop": shop,
            "number": number,
            "customer": customer,
            "day": written(day),
            "due": due,
            "buyer": buyer,
            "street": street,
            "town": town,
            "rows": rows,
            "net": amount(net, currency),
            "total": total,
            "iban": iban,
            "delivery": amount(delivery, currency),
            "email": f"orders@{words.fill('shop-##')}.com",
        },
        asks=asks,
    )


def boarding_pass(words: Words) -> Draft:
    """A boarding pass, wide and low."""
    name = words.person()
    (origin, start), (goal, end) = words.sample(sorted(AIRPORTS.items()), 2)
    flight, gate, seat = words.fill("@@ ####"), words.fill("@##"), f"{words.randint(3, 38)}{words.choice('ABCDEF')}"
    boarding, leaves, group = words.clock(5, 12), words.clock(13, 22), words.choice("12345")
    code, day, bags = words.fill("@#@@#@"), words.day(2024, 2027), f"{words.randint(8, 32)} kg"
    written = f"{day:%d %b %Y}".upper()
    asks = (
        field_ask("What is the flight number?", flight, "Flight"),
        field_ask("Which gate does the flight leave from?", gate, "Gate"),
        field_ask("What seat does the passenger have?", seat, "Seat"),
        field_ask("When does boarding begin?", boarding, "Boarding"),
        field_ask("What is the name of the passenger?", name, "Passenger"),
        field_ask("What is the booking reference?", code, "Booking ref"),
        field_ask("Which airport code does the flight go to?", goal, end),
        absent_ask("Which meal was ordered?", "meal"),
    )
    shown = look(words, "Noto Sans Display;Lato;Clear Sans", "#14213d #6a040f #005f73", (15, 17))
    return Draft(
        words={
            **shown,
            "name": name,
            "origin": origin,
            "goal": goal,
            "towns": (start, end),
            "flight": flight,
            "gate": gate,
            "seat": seat,
            "boarding": boarding,
            "leaves": leaves,
            "group": group,
            "code": code,
            "day": written,
            "bags": bags,
            "airline": words.choice(("AERO POLARIS", "Vol d'Or", "Tramontana Air", "SKYLARK", "Flynordic")),
        },
        asks=asks,
    )


def statement(words: Words) -> Draft:
    """A bank's statement of account."""
    holder, currency = words.person(), words.choice(CURRENCIES)
    days = sorted(words.sample(range(1, 29), 7))
    month, year = words.randint(1, 12), words.randint(2020, 2026)
    names = [words.company() for _ in range(4)] + [f"Transfer {words.person()}", "Card fee", f"Rent {words.street()}"]
    words.shuffle(names)
    start = balance = words.randint(90000, 900000)
    rows = []
    for day, name in zip(days, names, strict=True):
        change = words.choice((-1, -1, 1)) * words.randint(450, 48000)
        balance += change
        sign = "\u2212" if change < 0 else "+"
        rows.append((f"{day:02}.{month:02}.", name, sign + amount(abs(change), currency), amount(balance, currency)))
    iban, branch, number = words.iban(), words.town(), words.fill("###/####")
    picked, other = words.sample(rows, 2)
    asks = (
        field_ask("What is the IBAN of the account?", iban, "IBAN"),
        field_ask("Who is the account holder?", holder, "Account holder"),
        field_ask(
            "What is the opening balance?",
            amount(start, currency),
            "Opening balance",
            also=money(amount(start, currency)),
        ),
        field_ask("What is the statement number?", number, "Statement"),
        cell_ask(
            f"What was the balance after the entry “{picked[1]}”?", picked[3], picked[1], "Balance", money(picked[3])
        ),
        cell_ask(f"On which date is “{other[1]}” booked?", other[0], other[1], "Date", (other[0].rstrip("."),)),
        Ask(
            kind="below",
            question=f"Which entry comes right after “{rows[2][1]}”?",
            answer=rows[3][1],
            beside=(rows[2][1],),
        ),
        absent_ask("What is the interest rate?", "interest", "rate"),
    )
    shown = look(words, "PT Serif;PT Sans;Noto Serif;Liberation Sans", "#003049 #3a5a40 #7f1d1d", (12, 13))
    return Draft(
        words={
            **shown,
            "holder": holder,
            "iban": iban,
            "branch": branch,
            "number": number,
            "rows": rows,
            "start": amount(start, currency),
            "end": amount(balance, currency),
            "bank": f"{words.choice(NOUNS).split()[-1].title()}bank",
            "period": f"{month:02}/{year}",
        },
        asks=asks,
    )


def letter(words: Words) -> Draft:
    """A letter of an office, whose facts stand in its sentences."""
    sender, reader, clerk = words.company(), *words.people(2)
    written, day = words.date_form(), words.day()
    later, fee, currency = words.day(), words.randint(1200, 89000), words.choice(CURRENCIES)
    reference, room, hour, phone = words.code(), words.fill("#.##"), words.clock(8, 17), words.phone()
    job, cost = words.choice(JOBS), amount(fee, currency)
    street, town = words.street(), f"{words.postcode()} {words.town()}"
    asks = (
        field_ask("What is the reference of the letter?", reference, "Our reference"),
        field_ask("On which date was the letter written?", written(day), kind="date"),
        Ask(kind="fact", question="In which room is the meeting?", answer=room, beside=("room",)),
        Ask(kind="fact", question="How much is the fee?", answer=cost, beside=("fee",), also=money(cost)),
        Ask(kind="fact", question="At what time does the meeting start?", answer=hour, beside=("meeting",)),
        field_ask("Who signed the letter?", clerk, job),
        field_ask("What is the job of the person who signed?", job, clerk),
        absent_ask("What is the fax number?", "fax"),
    )
    shown = look(words, "Gentium Plus;Vollkorn;PT Serif;Noto Sans Mono;Yrsa", "#222222 #1b263b #3d2b1f", (15, 16, 18))
    return Draft(
        words={
            **shown,
            "sender": sender,
            "reader": reader,
            "clerk": clerk,
            "day": written(day),
            "later": written(later),
            "cost": cost,
            "reference": reference,
            "room": room,
            "hour": hour,
            "phone": phone,
            "job": job,
            "street": street,
            "town": town,
            "thing": words.product().lower(),
        },
        asks=asks,
    )


def certificate(words: Words) -> Draft:
    """A certificate, framed and in large print."""
    name, head, teacher = words.people(3)
    course = words.choice(
        ("Bookbinding", "Advanced Joinery", "Sign Language II", "Food Hygiene", "Alpine Rescue", "Glassblowing")
    )
    school, number = f"{words.choice(('Akademie', 'Institute', 'École', 'Szkoła'))} {words.town()}", words.code()
    hours, grade, written, day = words.randint(12, 240), words.fill("#.#"), words.date_form(), words.day()
    asks = (
        field_ask("Who receives the certificate?", name, "certify that"),
        field_ask("Which course was completed?", course, "course"),
        Ask(kind="fact", question="How many hours did the course take?", answer=str(hours), beside=("hours",)),
        field_ask("What is the certificate number?", number, "No."),
        field_ask("When was it awarded?", written(day), "Awarded on", kind="date"),
        field_ask("Who is the director?", head, "Director"),
        absent_ask("How much did the course cost?", "cost", "price", "fee"),
    )
    shown = look(words, "Cardo;Yrsa;Vollkorn", "#8d6b1f #1f3c88 #5b2333", (17, 19))
    return Draft(
        words={
            **shown,
            "name": name,
            "head": head,
            "teacher": teacher,
            "course": course,
            "school": school,
            "number": number,
            "hours": hours,
            "grade": grade,
            "day": written(day),
        },
        asks=asks,
    )


def product_sheet(words: Words) -> Draft:
    """A data sheet of one product."""
    product, brand, code = words.product(), words.choice(("Halcyon", "Nordlicht", "Umbra", "Zephyrine")), words.code()
    facts = {
        "Weight": f"{words.randint(120, 9800)} g",
        "Width": f"{words.randint(40, 900)} mm",
        "Power": f"{words.randint(5, 2400)} W",
        "Material": words.choice(
            ("oiled beech", "anodised aluminium", "recycled PET", "stoneware", "brass", "merino wool")
        ),
        "Made in": words.choice(COUNTRIES),
        "Warranty": f"{words.randint(12, 120)} months",
        "EAN": words.fill("#############"),
        "Operating temperature": f"\u2212{words.randint(2, 30)} to {words.randint(35, 70)} °C",
    }
    shown_facts = dict(words.sample(sorted(facts.items()), 6))
    price = amount(words.randint(900, 89900), words.choice(CURRENCIES))
    asked = {
        "Weight": f"How heavy is the {product.lower()}?",
        "Width": "How wide is it?",
        "Power": "What is the power of the device?",
        "Material": "Which material is it made of?",
        "Made in": "In which country is it made?",
        "Warranty": "How long is the warranty?",
        "EAN": "What is the EAN?",
        "Operating temperature": "What is the operating temperature?",
    }
    asks = (
        *(field_ask(asked[name], fact, name) for name, fact in list(shown_facts.items())[:4]),
        field_ask("What is the price?", price, also=money(price)),
        field_ask("What is the article number?", code, "Art."),
        absent_ask("Which battery does it use?", "battery"),
    )
    shown = look(words, "Noto Sans Display;PT Sans;Lato", "#e76f51 #2a9d8f #4361ee", (15, 17, 19))
    return Draft(
        words={**shown, "product": product, "brand": brand, "code": code, "facts": shown_facts, "price": price},
        asks=asks,
    )


def boxed_form(words: Words) -> Draft:
    """A filled-in form with boxes for its letters and for ticks."""
    name, mother = words.people(2)
    street, code, town = words.street(), words.postcode(), words.town()
    born, phone, email = words.day(1951, 2004), words.phone(), words.email(name)
    plans = words.sample(("Monthly", "Quarterly", "Yearly", "One-off"), 3)
    pay = words.sample(("Direct debit", "Bank transfer", "Card", "Cash"), 3)
    plan, way = words.choice(plans), words.choice(pay)
    written, member = words.date_form(), words.fill("####-##")
    asks = (
        field_ask("What is the applicant's name?", name, "Full name"),
        field_ask("When was the applicant born?", written(born), "Date of birth", kind="date"),
        field_ask("What is the e-mail address?", email, "E-mail"),
        field_ask("What is the phone number?", phone, "Telephone"),
        field_ask("Which street does the applicant live in?", street, "Street and number"),
        field_ask("What is the postcode?", code, "Postcode"),
        Ask(kind="choice", question="Which subscription is ticked?", answer=plan, beside=("Subscription",)),
        Ask(kind="choice", question="Which way to pay is ticked?", answer=way, beside=("Payment",)),
        absent_ask("What is the applicant's nationality?", "nationality"),
    )
    shown = look(words, "Noto Sans;Noto Sans Mono;Andika;PT Sans", "#9a031e #1d3557 #386641", (13, 14))
    return Draft(
        words={
            **shown,
            "name": name,
            "mother": mother,
            "street": street,
            "code": code,
            "town": town,
            "born": written(born),
            "phone": phone,
            "email": email,
            "plans": plans,
            "pay": pay,
            "plan": plan,
            "way": way,
            "member": member,
            "club": f"{words.town()} {words.choice(('Rowing Club', 'Library', 'Choir', 'Allotments'))}",
        },
        asks=asks,
    )
