"""What the fields, columns and rows of documents are called, and what is written in them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llava.pages import vocabulary as v
from llava.pages.chance import between, happens, pick

_BY_WRITER: tuple[tuple[v.Writer, str], ...] = (
    (
        v.amount,
        "Total|Subtotal|Amount due|Balance|Deposit|Shipping|Price|Fee|Rent|Salary|Budget|Refund|"
        "Insurance|Late fee|Service charge|Cash|Change|Unit price|Net amount|Gross amount|VAT|"
        "Sales tax|Paid|Credit|Cost|Value|Monthly rent|Amount paid|Down payment|Opening balance|"
        "Closing balance|Postage|Tip|Freight|Payment",
    ),
    (
        v.date,
        "Date|Due date|Invoice date|Order date|Delivery date|Start date|End date|Date of birth|"
        "Issued|Expires|Valid until|Check-in|Check-out|Return by|Signed on|Ship date|Payment date|"
        "Hire date|Period|Last visit|Received",
    ),
    (
        v.code,
        "Invoice no.|Order number|Customer ID|PO number|Reference|Account|Policy no.|Booking code|"
        "Serial number|Tracking no.|Contract|License plate|Flight|Gate|Seat|Room|Case no.|Permit|"
        "SKU|Batch|Ticket|Locker|Vehicle|Member no.|Model|Part no.|IBAN|Tax ID|Receipt no.|"
        "Project|File no.|Passport no.|Code|Lot|Claim no.",
    ),
    (
        v.person,
        "Name|Customer|Patient|Contact|Manager|Prepared by|Approved by|Tenant|Driver|Teacher|"
        "Inspector|Passenger|Client|Author|Guest|Agent|Owner|Sold to|Cashier|Attention|Signed by|"
        "Doctor|Buyer|Seller|Employee|Salesman",
    ),
    (
        v.town,
        "City|Destination|Origin|From|To|Branch|Place of birth|Station|Venue|Warehouse|Port|Location|Office|Depot",
    ),
    (
        v.street,
        "Address|Street|Delivery address|Ship to|Bill to|Home address|Site",
    ),
    (
        v.email,
        "E-mail|Email|Mail|Contact e-mail",
    ),
    (
        v.website,
        "Website|Web|Homepage",
    ),
    (
        v.phone,
        "Phone|Telephone|Mobile|Fax|Tel.|Hotline|Phone number",
    ),
    (
        v.company,
        "Company|Supplier|Bank|Employer|Carrier|Insurer|Vendor|Payee|Manufacturer|Organization",
    ),
    (
        v.integer,
        "Quantity|Qty|Pages|Weight|Age|Nights|Persons|Units|Mileage|Copies|Attendance|Distance|"
        "Height|Stock|Sold|Points|Items|Boxes|Guests|Hours|Visits|Orders|Staff|Calories|"
        "Participants|Rank|Floor",
    ),
    (
        v.decimal,
        "Score|Rate|Length|Width|Volume|Temperature|Grade|Average|Depth|Speed|Rating|Density|Factor",
    ),
    (
        v.percent,
        "Discount|Tax rate|Interest|Humidity|Share|Growth|Margin|Commission|Occupancy|Change in %|Completion",
    ),
    (
        v.clock,
        "Time|Departure|Arrival|Opens|Closes|Start|End|Departs|Arrives|Pickup time|Check-in time",
    ),
    (
        v.cased_word,
        "Status|Color|Type|Category|Department|Language|Subject|Method|Class|Condition|Product|"
        "Brand|Material|Service|Sector|Region|Title|Unit|Mode|Group|Topic",
    ),
)
KNOWN: tuple[tuple[str, v.Writer], ...] = tuple(
    (name, writer) for writer, names in _BY_WRITER for name in names.split("|")
)
SUMMED = frozenset({v.amount, v.integer})
ROLES: Sequence[tuple[str, v.Writer]] = (
    ("Item", v.cased_word), ("Product", v.cased_word), ("Name", v.person), ("Employee", v.person), ("City", v.town),
    ("Stop", v.town), ("Station", v.town), ("Article", v.cased_word), ("Code", v.code), ("Company", v.company),
    ("Description", v.cased_word), ("Country", v.town), ("Player", v.surname), ("Team", v.town), ("Part", v.code),
    ("Course", v.cased_word), ("Dish", v.cased_word), ("Region", v.town), ("Line", v.code), ("Unit", v.cased_word),
)  # fmt: skip
"""What the first column of a table may hold: its head, and what names its rows."""


@dataclass(frozen=True, kw_only=True)
class Label:
    """The name of a field or a column, and what writes its values."""

    name: str
    write: v.Writer


def draw_labels(rng: np.random.Generator, count: int, *, invented: float = 0.2) -> list[Label]:
    """So many labels of different names, some of which no list holds."""
    found: dict[str, Label] = {}
    while len(found) < count:
        if happens(rng, invented):
            words = [v.invented_word(rng) if happens(rng, 0.6) else v.word(rng) for _ in range(between(rng, 1, 2))]
            name, write = " ".join(words).capitalize(), pick(rng, KNOWN)[1]
        else:
            name, write = pick(rng, KNOWN)
        found.setdefault(name.lower(), Label(name=name, write=write))
    return list(found.values())


def draw_names(rng: np.random.Generator, write: v.Writer, count: int) -> list[str]:
    """So many different names, of up to three words."""
    found: dict[str, str] = {}
    while len(found) < count:
        words = [write(rng)]
        if write is v.cased_word:
            words += [v.word(rng) for _ in range(between(rng, 0, 2))]
        name = " ".join(words)
        found.setdefault(name.lower(), name[0].upper() + name[1:])
    return list(found.values())
