"""Common English words and names: the part of a page's vocabulary that readers may know by heart."""


def split_words(text: str) -> tuple[str, ...]:
    """The words of a text."""
    return tuple(text.split())


WORDS = split_words(
    """a able about above account across act action active actual add address advance after again against age agency
    agent ago agree agreement aid air all allow almost alone along already also although always amount analysis and
    animal annual another answer any apart appear apple apply approach approve area arm around arrive article as ask
    asset at attach august author available average away back balance bank bar base basic basis be because become
    before begin behind believe below benefit best better between beyond big bill birth black block blue board boat
    body book border both box branch bread break bridge bring brown budget build building business but buy by cable
    call camera campaign can capital car carbon card care carry case cash catch cause cell cent center central
    certain chain chair chance change channel chapter charge chart check chief child choice choose church circle
    city civil claim class clean clear clerk client climate close cloth coal coast code coffee cold collect college
    color column come common community company compare complete computer concern condition conference consider
    contact contain content continue contract control cook copper copy corner cost cotton could council count
    country course court cover cream create credit crew crop cross crowd culture cup current customer cut cycle
    daily damage dark data date daughter day dead deal dear debt decade decide deep default defense degree delay
    deliver delivery demand department deposit depth describe design desk detail develop device diet difference
    digital dinner direct director discount discuss disease display distance district divide doctor document dollar
    domestic door double down draft draw dream dress drink drive driver drop dry due during duty each early earn
    earth east easy eat economy edge edition editor education effect effort eight either electric element else email
    employee empty end energy engine engineer enough enter entire entry equal equipment error escape estate even
    evening event ever every evidence exact example except exchange exercise exhibit exit expect expense expert
    explain export express extra eye face fact factor factory fail fair fall family far farm fast father fault fax
    fee feed feel few field fifty figure file fill film final finance find fine finger finish fire firm first fish
    fit five fix flag flat fleet flight floor flow flower fly focus folder follow food foot for force foreign forest
    form former forward four frame free fresh friend from front fruit fuel full function fund further future game
    garden gas gate general get gift girl give glass global go goal gold good goods government grade grand grant
    grass gray great green gross ground group grow growth guard guest guide half hall hand happen harbor hard have
    he head health hear heart heat heavy height help her high hill him his history hit hold holder hole holiday home
    hope horse hospital host hot hotel hour house how human hundred hurt husband ice idea if image impact import
    improve in inch include income increase index industry inform input inside insurance interest into invest
    invoice iron island issue it item its job join joint journal judge july june just keep key kind kitchen know
    label labor lake land language large last late law lawyer lay lead leader learn lease least leave left legal
    length less lesson let letter level library license life light like limit line link list listen liter little
    live load loan local location lock long look loss lot loud love low lower lunch machine mail main maintain major
    make man manage manager many map march margin mark market mass master match material matter maximum may meal
    mean measure meat media medical meet meeting member memory mention menu metal meter method middle might mile
    milk million mind mine minimum minor minute miss mobile model modern moment monday money month more morning
    mortgage most mother motor mountain move movement much museum music must name narrow nation native natural
    nature near need net network never new news next night nine no noise none nor normal north not note nothing
    notice november now number object obtain occur ocean october odd of off offer office officer often oil old on
    once one online only open operate opinion option or orange order origin other our out output outside over own
    owner oxygen pack package page paint pair panel paper parent park part partner party pass passenger past patient
    pattern pause pay payment peace pension people per percent perform period permit person phone photo piece pilot
    pipe place plan plane plant plastic plate play please point police policy poor port position possible post pound
    power practice prepare present press pressure price print private problem process produce product profit program
    project promise proof proper property protect provide public pull pump purchase purpose push put quality quarter
    question quick quiet quite radio rail rain raise range rate rather reach read ready real reason receipt receive
    recent record red reduce refer reference refund region register regular reject relate release remain remark
    remove rent repair repeat replace reply report request require rescue research reserve resident resource rest
    result retail return revenue review rice right ring rise risk river road rock role roof room root rose round
    route row rule run safe safety salary sale salt same sample sand save say scale schedule school science score
    screen sea search season seat second section sector secure see seed seem segment select sell send senior sense
    separate serial series serve service set seven several shade shape share sheet shelf ship shop short should show
    side sign signal silver similar simple since single site six size skill skin sky sleep slow small smart smoke
    smooth snow so social soft software soil solar sold solid some song soon sort sound source south space speak
    special speed spend sport spring square staff stage stamp stand standard start state station status stay steam
    steel step still stock stone stop storage store storm story straight strange stream street strength strike
    strong student study style subject such sugar suit sum summary summer sun supply support sure surface survey
    system table tail take talk tall tank tape target task tax tea teach team technical telephone tell ten tenant
    term test text than thank that the their them then theory there these they thick thin thing think third this
    those thousand three through ticket tide time tire title to today together ton tonight too tool top total touch
    tour toward tower town track trade train transfer transport travel treat tree trial trip truck true trust try
    turn twelve twenty two type under union unit university until up update upon upper urban us use user usual
    vacant valid valley value van vehicle version very vessel via view village visit visitor voice volume vote wage
    wait walk wall want war warm warning wash waste water wave way we weak weather week weight welcome well west
    wheel when where whether which while white who whole whose why wide width will wind window wine winter wire with
    within without woman wood wool word work worker world would write wrong yard year yellow yes yet yield you young
    your zero zone"""
)
FIRST_NAMES = split_words(
    """Aaron Ada Agnes Ahmed Aisha Alan Albert Alice Amir Amy Ana Andrew Anita Anna Anton Arthur Astrid Barbara
    Beatrice Ben Bianca Boris Brian Carla Carlos Carol Cecilia Chen Chloe Clara Colin Daniel Daria David Deepa Diana
    Dmitri Dora Edith Edward Elena Elif Emil Emma Erik Esther Eva Fatima Felix Fiona Frank Frida George Grace Greta
    Hana Harold Helen Henry Hugo Ibrahim Ida Igor Ines Irene Isaac Ivan Jack Jakob Jana Jane Javier Jean Joan John
    Jonas Jorge Judith Julia June Karen Karim Kate Kenji Kevin Kofi Laila Lars Laura Lea Leo Leila Lina Louis Lucia
    Luis Magda Maja Marco Maria Mark Marta Mary Max Maya Mehmet Mei Mia Michael Mohamed Nadia Naomi Nils Nina Noah
    Nora Olga Oliver Omar Otto Pablo Paul Pedro Peter Petra Pia Priya Rachel Raj Rita Robert Rosa Ruth Sam Sara
    Selim Simon Sofia Stefan Susan Sven Tanya Tara Teresa Theo Thomas Tim Tomas Uma Vera Victor Wanda Wei William
    Yara Yuki Yusuf Zoe"""
)
SURNAMES = split_words(
    """Abbott Adams Ahmed Alvarez Andersen Baker Barnes Bauer Becker Bell Bennett Berg Berger Bianchi Brown Bruno Bush
    Carter Chen Clark Cohen Cole Cook Costa Cruz Davies Diaz Dubois Dunn Edwards Ellis Evans Farah Fischer Fleming
    Foster Fox Garcia Gibson Gomez Gray Green Gupta Haas Hall Hansen Harris Hassan Hayes Hill Hoffman Horvat Hughes
    Hunt Ito Ivanov Jackson James Jensen Johnson Jones Kaya Keller Kelly Khan Kim King Klein Koch Kowalski Kumar
    Lang Larsen Lee Lewis Lim Lindgren Lopez Lund Marino Martin Meyer Miller Moore Moreau Morgan Murphy Nagy
    Nakamura Nelson Neumann Novak Nowak Okafor Olsen Ortiz Park Parker Patel Pereira Perez Peters Petrov Pham
    Popescu Price Quinn Ramos Reed Reyes Richter Rivera Roberts Rossi Roth Russo Ryan Sato Schmidt Schneider Scott
    Shah Silva Singh Smith Sokolov Stewart Stone Suzuki Tanaka Taylor Thomas Toth Turner Ueda Varga Vogel Wagner
    Walker Wang Ward Weber White Wilson Wolf Wood Wright Yamada Yilmaz Young Zhang Ziegler"""
)
TOWNS = split_words(
    """Aarhus Accra Adelaide Albany Algiers Amman Ankara Antwerp Athens Atlanta Austin Basel Beirut Belfast Bergen
    Berlin Bern Bilbao Bogota Bologna Boston Bremen Brno Brussels Budapest Cairo Calgary Cardiff Chicago Cologne
    Cork Dakar Dallas Delhi Denver Dhaka Dresden Dublin Durban Essen Fargo Florence Geneva Genoa Ghent Gothenburg
    Graz Hamburg Hanoi Helsinki Houston Istanbul Izmir Jaipur Jakarta Kampala Karachi Kiel Krakow Kyoto Lagos Leeds
    Leipzig Lille Lima Linz Lisbon Liverpool London Lyon Madrid Malmo Manila Marseille Melbourne Miami Milan
    Montreal Mumbai Munich Nairobi Nantes Naples Nice Odense Oslo Ottawa Oxford Palermo Paris Perth Phoenix Porto
    Prague Quito Reno Riga Rome Rotterdam Salzburg Santiago Seattle Seoul Seville Sofia Split Stuttgart Sydney
    Tallinn Tampa Tokyo Toronto Toulouse Trieste Tunis Turin Turku Utrecht Valencia Vienna Vilnius Warsaw Wellington
    York Zagreb Zurich"""
)
