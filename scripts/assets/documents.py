"""The printed pages: an invoice, its sheet of terms, a dense table and a receipt."""

import random
import textwrap

from matplotlib.patches import Polygon
from matplotlib.text import Text

from scripts.assets.canvas import INK, NAVY, PALE, SOFT, TEAL, Canvas, money

PORTS = """Alderhaven Breslow Caldmouth Dunmere Eastwick Farrowby Glenport Hollin Isleton Jarrow-Key Kestrel Lowmoor
    Marrow-Bay Norhaven Osprey Pellworth Quillon Ravensea Stavely Thornwick Ullsport Vexford Westerly Yarrow"""


def draw_letterhead(page: Canvas, title: str) -> None:
    page.box(0, 0, 850, 96, NAVY)
    page.add(Polygon([(48, 70), (72, 24), (96, 70)], facecolor="#8fc1b5"))
    page.add(Polygon([(70, 70), (88, 40), (106, 70)], facecolor="#e9c46a"))
    page.text(124, 52, "Harbor & Pine Supply Co.", 24, face="Serif-Bold", color="white")
    page.text(124, 74, "Marine hardware · timber · rope    418 Quay Street, Port Alder", 12, color="#c8d3e0")
    page.text(802, 58, title, 30, face="Sans-Bold", color="white", align="right")


def draw_invoice(name: str, number: int | None = None) -> Canvas:
    page, rng = Canvas(name, 850, 1100, number=number), random.Random(11)
    draw_letterhead(page, "INVOICE")
    facts = {"Invoice no.": "HP-20417", "Date": "March 14, 2025", "Due": "April 13, 2025", "PO number": "7731-LQ"}
    fact_texts = {}
    for row, (label, words) in enumerate(facts.items()):
        page.text(560, 136 + 22 * row, label, 12, color=SOFT)
        fact_texts[label] = page.text(802, 136 + 22 * row, words, 11.5, face="Sans-Bold", align="right")
    addresses = {
        "BILL TO": ["Lindqvist Boatworks", "Attn. Mara Ellison", "92 Slipway Lane", "Gray Cove, ME 04563"],
        "SHIP TO": ["Dock 6, North Basin", "Receiving 7 am to 3 pm", "15 Breakwater Road", "Gray Cove, ME 04563"],
    }
    for column, (label, lines) in enumerate(addresses.items()):
        page.text(48 + 240 * column, 136, label, 12, face="Sans-Bold", color=TEAL)
        for row, words in enumerate(lines):
            page.text(48 + 240 * column, 158 + 19 * row, words, 13)
    page.box(48, 252, 754, 28, PALE)
    edges = {"SKU": (60, "left"), "Description": (160, "left"), "Qty": (535, "right"), "Unit": (590, "center")}
    edges |= {"Price": (690, "right"), "Amount": (790, "right")}
    for label, (x, align) in edges.items():
        page.text(x, 271, label, 12, face="Sans-Bold", color=SOFT, align=align)
    goods = """Bronze cleat, 8 in/ea/24.50;Braided dock line, 1/2 in/ft/1.35;Stainless shackle, 3/8 in/ea/11.80
        White oak plank, 5/4 x 8 in/ft/9.40;Marine epoxy, slow cure/gal/94.75;Galvanized anchor, 22 lb/ea/71.20
        Teak deck plug, 1/2 in/bag/8.65;Fender, cylindrical, 8 x 20 in/ea/38.90;Bilge pump, 1,100 gph/ea/46.15
        Nylon thimble, 5/8 in/ea/3.25;Spar varnish, gloss/qt/33.60;Silicon bronze screw, #12 x 2 in/box/57.10
        Heat-shrink butt splice/bag/12.45;Running light, LED pair/set/64.30;Dock ladder, 4 step/ea/168.00
        Chart tube, waterproof/ea/19.95"""
    subtotal, cells = 0, {}
    for row, item in enumerate(goods.replace("\n", ";").split(";")):
        (words, unit, price_text), y = item.strip().rsplit("/", 2), 304 + 29 * row
        count, price = rng.randint(2, 48), round(100 * float(price_text))
        subtotal += count * price
        sku = f"{rng.choice('ABCDKMRT')}{rng.choice('EFGHLNPS')}-{rng.randint(1000, 9999)}"
        columns = [sku, words, str(count), unit, price_text, money(count * price)]
        for (label, (x, align)), content in zip(edges.items(), columns, strict=True):
            face = "SansMono" if label == "SKU" else "Sans"
            cells[words, label] = page.text(x, y, content, 11, face=face, align=align)
        page.box(48, y + 10, 754, 1, PALE)
    shipping, tax = 18_450, round(subtotal * 0.055)
    sums = {"Subtotal": subtotal, "Shipping": shipping, "Sales tax (5.5 %)": tax}
    for row, (label, cents) in enumerate(sums.items()):
        page.text(690, 796 + 25 * row, label, 13, color=SOFT, align="right")
        page.text(790, 796 + 25 * row, money(cents), 13, align="right")
    page.box(520, 862, 282, 40, NAVY, corner=6)
    page.text(536, 888, "TOTAL DUE", 15, face="Sans-Bold", color="white")
    due = "$" + money(subtotal + shipping + tax)
    total = page.text(790, 888, due, 17, face="Sans-Bold", color="white", align="right")
    page.text(48, 796, "Pay by transfer", 13, face="Sans-Bold", color=TEAL)
    page.text(48, 818, "Alder Savings Bank · routing 041 207 736", 11, color=SOFT)
    account = page.text(48, 839, "Account 5520 8816 3094", 11, color=SOFT)
    small = """Goods remain the property of Harbor & Pine Supply Co. until paid in full. Report damage within five
        working days of receipt, with photographs of the packing. Rope cut to length and tinted varnish cannot be
        returned. Backordered lines ship without further freight charge. Terms of sale, edition 9, apply."""
    page.box(48, 948, 754, 1, SOFT)
    for row, words in enumerate(textwrap.wrap(" ".join(small.split()), 128)):
        page.text(48, 972 + 16 * row, words, 10, color=SOFT)
    page.text(425, 1068, "Thank you for keeping old boats afloat.", 13, face="Serif-Italic", color=TEAL, align="center")
    page.ask("What is the total due?", total)
    page.ask("What is the PO number?", fact_texts["PO number"])
    page.ask("What is the SKU of the galvanized anchor?", cells["Galvanized anchor, 22 lb", "SKU"])
    page.ask("Which account should be paid?", account, "5520 8816 3094")
    return page


def draw_terms(name: str) -> Canvas:
    page = Canvas(name, 850, 1100, number=2)
    draw_letterhead(page, "TERMS")
    page.box(48, 128, 754, 150, "#f2f5f7", corner=8)
    facts = {
        "Late payment fee": "1.5 % per month",
        "Return window": "21 days from delivery",
        "Restocking charge": "12 % of list price",
        "Warranty on castings": "7 years",
        "Governing law": "State of Maine",
    }
    places = {}
    for row, (label, words) in enumerate(facts.items()):
        page.text(70, 158 + 25 * row, label, 14, color=SOFT)
        places[label] = page.text(330, 158 + 25 * row, words, 14, face="Sans-Bold")
    clauses = """
        Orders: An order binds once it is confirmed in writing. Drawings sent with an order stay with the buyer, who
        answers for their dimensions. Changes after cutting has begun are charged at the shop rate of the day.

        Delivery: Dates are honest estimates, not promises. Risk passes when the goods cross the dock. Storage is free
        for ten days after the agreed date; after that each pallet is charged by the week.

        Prices: Prices are in US dollars and exclude duty. Timber follows the monthly index; the price that counts is
        the one on the day of shipment, unless a quotation fixes it for ninety days or less.

        Payment: Invoices are due thirty days from their date. Payments settle the oldest invoice first. The seller may
        hold further shipments while an account is overdue.

        Returns: Stock items come back unused, in their packing, with a return number. Items cut, tinted, spliced or
        made to a drawing cannot be returned.

        Warranty: The seller repairs or replaces, at its choice, what fails through material or workmanship. Wear,
        galvanic corrosion and improper fastening are excluded, as is loss of use.

        Liability: Liability ends at the price of the goods concerned, except where the law does not permit a limit.

        Disputes: The parties first try mediation in Port Alder. A clause found void leaves the others in force."""
    y = 320
    for number, clause in enumerate(clauses.split("\n\n"), start=1):
        title, _, words = " ".join(clause.split()).partition(": ")
        page.text(48, y, f"{number}.  {title}", 14, face="Serif-Bold", color=NAVY)
        for line in textwrap.wrap(words, 104):
            y += 22
            page.text(74, y, line, 13, face="Serif")
        y += 38
    page.text(425, 1068, "Edition 9 · page 2 of 2", 12, color=SOFT, align="center")
    page.ask("What is the late payment fee?", places["Late payment fee"])
    page.ask("How long is the warranty on castings?", places["Warranty on castings"])
    return page


def draw_table() -> Canvas:
    page, rng = Canvas("table.png", 1100, 850), random.Random(23)
    page.text(40, 46, "Monthly container throughput by terminal, 2024", 21, face="Serif-Bold", color=NAVY)
    page.text(
        40,
        68,
        "Twenty-foot equivalent units. Terminals in order of their opening; totals in the last column.",
        12,
        color=SOFT,
    )
    months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Total"]
    ports = PORTS.split()
    page.box(40, 86, 1020, 27, NAVY)
    page.text(52, 104, "Terminal", 12, face="Sans-Bold", color="white")
    edges = [212 + 68 * column for column in range(12)] + [1050]
    for x, month in zip(edges, months, strict=True):
        page.text(x, 104, month, 11, face="Sans-Bold", color="white", align="right")
    places, totals = {}, {}
    for row, port in enumerate(ports):
        y, base = 133 + 27.5 * row, rng.randint(700, 9000)
        if row % 2:
            page.box(40, y - 18.5, 1020, 27.5, "#f1f4f7")
        page.text(52, y, port, 11)
        counts = [round(base * rng.uniform(0.8, 1.2)) for _ in range(12)]
        totals[port] = sum(counts)
        for x, month, count in zip(edges, months, [*counts, sum(counts)], strict=True):
            face = "Sans-Bold" if month == "Total" else "Sans"
            places[port, month] = page.text(x, y, f"{count:,}", 10.5, face=face, align="right")
    page.box(40, 790, 1020, 1.5, NAVY)
    page.text(40, 815, "Figures are provisional. Transshipment counts twice; empty units count once.", 11, color=SOFT)
    page.ask("How many units did Kestrel handle in September?", places["Kestrel", "Sep"])
    page.ask("How many units did Vexford handle in February?", places["Vexford", "Feb"])
    busiest = max(totals, key=totals.__getitem__)
    page.ask("What is the total of the busiest terminal?", places[busiest, "Total"])
    return page


def draw_receipt() -> Canvas:
    page, rng = Canvas("tall.png", 320, 2000, paper="#fdfcf8"), random.Random(37)

    def row(y: float, left: str, right: str = "", *, face: str = "SansMono", size: float = 12.5) -> Text:
        words = page.text(20, y, left, size, face=face)
        return page.text(300, y, right, size, face=face, align="right") if right else words

    def rule(y: float) -> None:
        page.text(160, y, "- " * 18, 12.5, face="SansMono", color=SOFT, align="center")

    page.text(160, 50, "Corner & Clover", 24, face="Serif-BoldItalic", align="center")
    page.text(160, 74, "grocery · bakery · flowers", 12, color=SOFT, align="center")
    page.text(160, 94, "27 Larch Street, Gray Cove", 12, color=SOFT, align="center")
    row(130, "2025-05-09  17:42", "Till 4")
    cashier = row(150, "Cashier", "Imogen T.")
    rule(170)
    shelf = """whole milk 1 L/rye bread/butter 250 g/free-range eggs x12/oat flakes 500 g/wild honey/strawberry jam
        goat cheese/cheddar, aged/plain yogurt x4/carrots 1 kg/leeks/red onions/potatoes 2 kg/baby spinach/cucumber
        vine tomatoes/avocado x2/lemons x5/bananas/pears 1 kg/blueberries/flat parsley/ginger root/garlic x3
        spaghetti 500 g/basmati rice 1 kg/red lentils/chickpeas, can/tomato paste/olive oil 750 ml/cider vinegar
        sea salt/black pepper/cinnamon sticks/dark chocolate/oat cookies/walnuts 200 g/raisins/green tea
        ground coffee 500 g/sparkling water x6/apple juice 1 L/smoked trout/chicken thighs/tofu, firm/hummus
        dish soap/sponges x3/paper towels/laundry powder/candles x10/matches/tulips, bunch/potting soil 5 L"""
    names = [name.strip() for line in shelf.splitlines() for name in line.split("/")]
    places, total = {}, 0
    for index, name in enumerate(names):
        cents = rng.randint(79, 699)
        total += cents
        places[name] = row(196 + 27 * index, name, money(cents))
    y = 196 + 27 * len(names)
    rule(y)
    paid = -(-total // 5000) * 5000
    page.text(20, y + 36, "TOTAL", 20, face="Sans-Bold")
    total_place = page.text(300, y + 36, "$" + money(total), 20, face="Sans-Bold", align="right")
    row(y + 66, f"{len(names)} items")
    row(y + 90, "Cash", money(paid))
    change = row(y + 112, "Change", money(paid - total))
    rule(y + 134)
    x = 40.0
    while x < 278:
        width = rng.choice((1, 1, 2, 3))
        page.box(x, y + 152, width, 52, INK)
        x += width + rng.choice((1, 2, 3))
    page.text(160, y + 224, "4 017 250 509 174", 12, face="SansMono", align="center")
    page.text(160, y + 256, "Thank you, come again!", 14, face="Serif-Italic", align="center")
    page.ask("What is the total on the receipt?", total_place)
    page.ask("Who was the cashier?", cashier)
    page.ask("How much did the smoked trout cost?", places["smoked trout"])
    page.ask("How much change was given?", change)
    return page
