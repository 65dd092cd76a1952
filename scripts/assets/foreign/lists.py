"""Lists and tables that a web browser prints: what each shows, and what is asked about it."""

from scripts.assets.foreign.draft import Ask, Draft, absent_ask, cell_ask, field_ask
from scripts.assets.foreign.papers import look, money
from scripts.assets.foreign.words import CURRENCIES, DISHES, INGREDIENTS, TEAMS, TOWNS, Words, amount


def recipe(words: Words) -> Draft:
    """A recipe with its ingredients and how to cook them."""
    dish, serves = words.choice(DISHES), words.randint(2, 12)
    parts = [(f"{words.randint(2, 90) * 5} g", name) for name in words.sample(INGREDIENTS, 6)]
    heat, baking, rest = words.randint(28, 48) * 5, words.randint(12, 95), words.randint(2, 40)
    cook, calories = words.person(), words.randint(180, 940)
    first, second = words.sample(parts, 2)
    asks = (
        field_ask("What is the dish called?", dish),
        field_ask(f"How much {first[1]} is needed?", first[0], first[1], kind="cell"),
        Ask(
            kind="row_with",
            question=f"Of which ingredient do you need {second[0]}?",
            answer=second[1],
            beside=(second[0],),
        )
        if sum(part[0] == second[0] for part in parts) == 1
        else field_ask(f"How much {second[1]} is needed?", second[0], second[1], kind="cell"),
        Ask(
            kind="fact",
            question="How hot should the oven be?",
            answer=f"{heat} °C",
            beside=("oven",),
            also=(f"{heat}°C", str(heat)),
        ),
        Ask(
            kind="fact",
            question="How many minutes does it bake?",
            answer=str(baking),
            beside=("Bake",),
            also=(f"{baking} minutes",),
        ),
        field_ask("How many people does the recipe serve?", str(serves), "Serves"),
        field_ask("Whose recipe is it?", cook, "Recipe by"),
        absent_ask("Which wine goes with it?", "wine"),
    )
    shown = look(words, "Vollkorn;Andika;Lato", "#bc4749 #6a994e #bb3e03", (16, 18))
    return Draft(
        words={
            **shown,
            "dish": dish,
            "serves": serves,
            "parts": parts,
            "heat": heat,
            "baking": baking,
            "rest": rest,
            "cook": cook,
            "calories": calories,
        },
        asks=asks,
    )


def departures(words: Words) -> Draft:
    """A dark board of departures."""
    minutes = sorted(words.sample(range(300, 1380), 8))
    rows = [
        (
            f"{minute // 60:02}:{minute % 60:02}",
            town,
            words.fill(words.choice(("IC ###", "RE ##", "S#", "R ####"))),
            f"{words.randint(1, 24)}{words.choice(('', '', 'a', 'b'))}",
            words.choice(("on time", "on time", f"+{words.randint(3, 55)} min")),
        )
        for minute, town in zip(minutes, words.sample(TOWNS, 8), strict=True)
    ]
    station = f"{words.town()} {words.choice(('Central', 'Nord', 'Hbf', 'Główny', 'St-Pierre'))}"
    first, second, third, fourth = words.sample(rows, 4)
    asks = (
        cell_ask(f"From which platform does the train to {first[1]} leave?", first[3], first[1], "Platform"),
        cell_ask(f"When does the train to {second[1]} leave?", second[0], second[1], "Time"),
        Ask(
            kind="row_with",
            question=f"Where does the train at {third[0]} go to?",
            answer=third[1],
            beside=(third[0], "To"),
        ),
        cell_ask(f"Which train goes to {fourth[1]}?", fourth[2], fourth[1], "Train"),
        Ask(
            kind="below",
            question=f"Which town comes right after {rows[4][1]} on the board?",
            answer=rows[5][1],
            beside=(rows[4][1],),
        ),
        field_ask("Which station is it?", station),
        Ask(kind="rows", question="How many trains are listed?", answer="8", beside=("Train",), printed=False),
        absent_ask("What does a ticket cost?", "ticket", "price", "fare"),
    )
    shown = look(words, "PT Sans;Clear Sans;Tuffy", "#ffd166 #80ed99 #9bf6ff", (17, 18))
    return Draft(
        words={**shown, "station": station, "rows": rows, "dark": words.choice(("#0b132b", "#101010", "#1b1b3a"))},
        asks=asks,
    )


def price_list(words: Words) -> Draft:
    """A narrow list of prices."""
    currency = words.choice(CURRENCIES)
    names = words.products(11)
    prices = [amount(cents, currency) for cents in words.values(11, 150, 19900, 5)]
    rows = list(zip(names, [words.fill("@##") for _ in names], prices, strict=True))
    shop, written, day, phone = words.company(), words.date_form(), words.day(), words.phone()
    first, second, third = words.sample(rows, 3)
    cents = [int("".join(sign for sign in row[2] if sign.isdigit())) for row in rows]
    asks = (
        cell_ask(f"What does the {first[0]} cost?", first[2], first[0], "Price", money(first[2])),
        cell_ask(f"What is the code of the {second[0]}?", second[1], second[0], "Code"),
        Ask(
            kind="row_with",
            question=f"Which article has the price {third[2]}?",
            answer=third[0],
            beside=(third[2], "Article"),
        ),
        Ask(
            kind="most",
            question="Which article is the most expensive?",
            answer=rows[cents.index(max(cents))][0],
            beside=("Price",),
        ),
        Ask(
            kind="below", question=f"What comes right below the {rows[6][0]}?", answer=rows[7][0], beside=(rows[6][0],)
        ),
        field_ask("From which day are the prices valid?", written(day), "Valid from", kind="date"),
        field_ask("Which shop is the price list of?", shop),
        absent_ask("When does the shop open?", "open", "hours"),
    )
    shown = look(words, "Lato;Tuffy;Liberation Sans", "#264653 #6d597a #9c6644", (14, 15))
    return Draft(words={**shown, "shop": shop, "day": written(day), "rows": rows, "phone": phone}, asks=asks)


def league(words: Words) -> Draft:
    """A league table on a dark ground."""
    names = [f"{town} {team}" for town, team in zip(words.sample(TOWNS, 8), words.sample(TEAMS, 8), strict=True)]
    points = sorted(words.values(8, 8, 71), reverse=True)
    rows = [
        (str(place), name, str(words.randint(20, 26)), f"{words.randint(20, 79)}:{words.randint(18, 66)}", str(point))
        for place, (name, point) in enumerate(zip(names, points, strict=True), start=1)
    ]
    ordinals = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "last")
    place, first, second, third = words.sample(range(8), 4)
    league_name, day = (
        f"{words.choice(('Northern', 'Coastal', 'Premier', 'Lowland', 'Second'))} League",
        words.randint(5, 34),
    )
    asks = (
        Ask(kind="row_with", question=f"Which team is {ordinals[place]}?", answer=names[place], beside=("Team",)),
        cell_ask(f"How many points does {names[first]} have?", rows[first][4], names[first], "Pts"),
        cell_ask(f"What is the goal record of {names[second]}?", rows[second][3], names[second], "Goals"),
        cell_ask(f"How many games has {names[third]} played?", rows[third][2], names[third], "Games"),
        Ask(kind="below", question=f"Which team stands right below {names[3]}?", answer=names[4], beside=(names[3],)),
        Ask(kind="fact", question="After which match day is the table?", answer=str(day), beside=("match day",)),
        absent_ask("Who is the top scorer?", "scorer"),
    )
    shown = look(words, "Noto Sans Display;Clear Sans;PT Sans", "#f72585 #4cc9f0 #f9c74f", (15, 16, 17))
    return Draft(words={**shown, "league": league_name, "day": day, "rows": rows}, asks=asks)


def menu(words: Words) -> Draft:
    """A tall menu."""
    currency = words.choice(("EUR", "GBP", "CHF", "PLN"))
    dishes, prices = words.sample(DISHES, 9), [amount(cents, currency) for cents in words.values(9, 420, 3890, 10)]
    courses = dict(zip(("Starters", "Mains", "Puddings"), (range(3), range(3, 6), range(6, 9)), strict=True))
    parts = {name: [(dishes[place], prices[place]) for place in places] for name, places in courses.items()}
    house, chef, phone, street = (
        f"{words.choice(('Chez', 'Casa', 'Zum', 'Café'))} {words.choice(TOWNS)}",
        words.person(),
        words.phone(),
        words.street(),
    )
    first, second, third = words.sample(range(9), 3)
    asks = (
        field_ask(
            f"How much is the {dishes[first]}?", prices[first], dishes[first], kind="cell", also=money(prices[first])
        ),
        field_ask(
            f"What is the price of {dishes[second]}?",
            prices[second],
            dishes[second],
            kind="cell",
            also=money(prices[second]),
        ),
        Ask(
            kind="row_with",
            question=f"Which dish costs {prices[third]}?",
            answer=dishes[third],
            beside=(prices[third],),
        ),
        Ask(kind="below", question="What is the first main course?", answer=dishes[3], beside=("Mains",)),
        field_ask("What is the restaurant called?", house),
        field_ask("Who is the chef?", chef, "Chef"),
        field_ask("Which number do you call to book a table?", phone, "Book a table"),
        absent_ask("Which beers are there?", "beer", "beers"),
    )
    shown = look(words, "Yrsa;Cardo;Gentium Plus", "#7f4f24 #283618 #6b2737", (16, 17))
    return Draft(
        words={**shown, "house": house, "chef": chef, "phone": phone, "street": street, "parts": parts}, asks=asks
    )


def dashboard(words: Words) -> Draft:
    """A dark, wide dashboard with tiles and a short table."""
    tiles = {
        "Visitors today": f"{words.randint(1200, 98000):,}",
        "Conversion": f"{words.randint(5, 99) / 10}%",
        "Open tickets": str(words.randint(11, 480)),
        "Avg. response": f"{words.randint(80, 990)} ms",
    }
    servers = [
        f"{words.choice(('atlas', 'boreas', 'castor', 'dione', 'europa', 'fenrir', 'gaia'))}-{place:02}"
        for place in words.sample(range(1, 60), 4)
    ]
    rows = [
        (name, f"{load}%", f"{words.randint(2, 400)} d", words.fill("10.##.#.#"))
        for name, load in zip(servers, words.values(4, 3, 97), strict=True)
    ]
    loads = [int(row[1][:-1]) for row in rows]
    first, second = words.sample(rows, 2)
    names = words.sample(sorted(tiles), 2)
    asked = {
        "Visitors today": "How many visitors were there today?",
        "Conversion": "What is the conversion?",
        "Open tickets": "How many tickets are open?",
        "Avg. response": "What is the average response time?",
    }
    user, version = words.email(words.person()), words.fill("v#.##.#")
    asks = (
        *(field_ask(asked[name], tiles[name], name) for name in names),
        cell_ask(f"What is the load of {first[0]}?", first[1], first[0], "Load"),
        cell_ask(f"What is the IP address of {second[0]}?", second[3], second[0], "Address"),
        Ask(
            kind="most",
            question="Which server has the highest load?",
            answer=servers[loads.index(max(loads))],
            beside=("Load",),
        ),
        field_ask("Who is signed in?", user, "Signed in as"),
        absent_ask("How much memory is free?", "memory"),
    )
    shown = look(words, "Fira Code;PT Sans;Noto Sans", "#00b4d8 #ff006e #8ac926", (15, 16))
    return Draft(words={**shown, "tiles": tiles, "rows": rows, "user": user, "version": version}, asks=asks)
