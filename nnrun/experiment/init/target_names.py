"""What the name of a column says about whether it is the target: `price` is what people predict, `age` is
known beforehand, `lprice` is computed from `price`, `bwght` is what bwght.csv is about.

The lists are words of the fields that tables come from: trade, labour, decisions, medicine, ecology,
engineering, schools.
"""

from __future__ import annotations

import re
from typing import Final

from nnrun.experiment.init.names import folded, names_rows, word_set, words_of


def _words(words: str) -> tuple[str, ...]:
    return tuple(words.split())


TARGET_NAMES: Final = (
    *("target", "label", "labels", "y", "outcome", "response", "survived", "topic", "sentiment"),
    *("churn", "churned", "medv", "depvar", "dependent", "class"),
)
"""What targets are usually called, the surest first. Titanic has `survived` and `class`."""

OUTCOME_WORDS: Final = _words(
    # trade and labour
    "salary salaries wage wages earnings revenue profit sales sale sold demand quantity consumption "
    "spending expenditure expenditures outcome response resp price prices cost costs score scores fare "
    "mpg mileage charges rent tip claims saving savings loan los valueadded "
    # what somebody decided or did
    "purchase purchased bought churn attrition fraud spam approved approve approval default defaulted "
    "delinquent bankrupt bankruptcy decision result vote voted turnout choice answer answers deny denied "
    "acceptance accepted subscribed converted clicked responded callback released ownership participation "
    "lfp admit admitted recidivism rearrest dropout graduated passed hired promoted quit donated donation "
    "cancelled canceled exited renewed retained conversion deposit convicted repaid takeup migrants "
    "pickups cooperation agreement "
    # births, illness and death
    "diagnosis survival survived mortality deaths death died die dead fatalities fatality fatal case "
    "cases ncases relapse remission recurrence infected infection cured readmitted readmission incidence "
    "prevalence malignant visits visit prognosis improved improvement fertility longevity lifespan "
    "lifetime lifeexp expectancy bodyfat survive headache depression infmort docvis "
    # counts, harvests, materials
    "count counts cnt yield defects errors failure failures fail failed incidents accidents injuries "
    "success successes crimes murder homicide homicides suicide suicides arrests executions crmrte "
    "ridership riders bikers passengers biomass drymatter rainfall abundance diversity strength viscosity "
    "toxicity solubility purity impurity potability absenteeism target label class "
    # people's judgement, schools
    "satisfaction shares popularity gpa eval evaluation rating ratings votes delay delayed attendance "
    "performance accuracy severity "
)
"""Words that the name of a target often has; weaker, since an input may have them too."""

MEDIUM_WORDS: Final = word_set(
    # trade, labour and the state
    "duration dur durat spell output productivity inflation unemployment unemploy employment employed "
    "growth returns wealth expenses premium gross msrp turnover migration tariff patents cites citations "
    "bids trips packs cigs drinks event mode balance consumed usage clicks conversions installs cancer "
    "verdict penalty sentence crime strikes partic switch register winner drafted segmentation play "
    # body and health
    "stroke chd cardio disease births bwt birthweight fev ozone divorce affairs injured killed casualties "
    "seizures attacks abuse complications alive species "
    # plants, animals and materials
    "richness eggs rings catch presence germination germinated thickness hardness roughness porosity wear "
    "damage corrosion cracks conductivity octane torque deflection deformation resistance resist noise "
    "odor odour taste mag magnitude calories gain loss efficiency power energy emission emissions accel "
    "acceleration flux brightness quality "
    # mind, schools and sport
    "correct reaction rt rate acuity prestige attitude trust happy happiness stress anxiety depress "
    "recall memory achievement ach marks attainment attain vocabulary vocab conformity compliance "
    "volunteer confidence probability intensity absences absent win won wins goals condition "
)
"""Words that are more often a target than not; less sure than `OUTCOME_WORDS`."""

WEAK_WORDS: Final = word_set(
    "value status grade risk amount level weight height volume length len speed frequency freq change "
    "difference diff math reading read hours time distance activity bp wt percent pct number days total "
    "final post gas delta low conc concentration trade protein course moved test share mass diameter size "
    "load life health diabetes children kids psa sbp systolic exam points "
)
"""Words of targets and of inputs alike: they decide only between columns that have no other sign."""

_LONG: Final = 5  # letters of a word that is told within a compound
_COMPOUNDS: Final = ("gpa", "scr", "wage", *(word for word in OUTCOME_WORDS if len(word) >= _LONG))

_CONTEXT_WORDS: Final = word_set(
    # of a person
    "age sex gender race black white hispanic hisp ethnicity married marital mar female fem male man "
    "woman foreign father mother husband wife parity gestation educ education phd exper experience tenure "
    "income inc smoke smoker smoking alcohol bmi iq occupation occ industry sector religion nationality "
    "language minority party union department dept stage ses capital "
    # of a place or a time
    "region state country county city nation zip zipcode lat lon long latitude longitude south north east "
    "west urban rural population pop district school team league origin destination clinic inst "
    "institution hospital center centre site year yr month day week hour quarter season weekday date "
    "period decade cohort "
    # of an experiment
    "group treatment treat treated trt rx arm trial feed spray supp dose temp temperature block plot "
    "variety fertilizer diet recipe method batch stratum strata cluster replicate rep run order pair "
    "position manufacturer brand model code sqrt material operator machine lab item source study "
    # of a house, a car or the air
    "bedrooms bathrooms beds baths rooms bath sqft area lot floors stories garage fuel transmission "
    "cylinders doors color colour carat humidity wind weather soil depth ph "
)
"""Words of what is known of somebody or something beforehand, or set by an experiment: rarely a target."""

_CONTEXT_ENDS: Final = _words("inc income educ sex race group grp popul yrs married born")
_COMPUTED_PREFIXES: Final = (
    *(("log", 2), ("ln", 2), ("l", 2), ("c", 3), ("d", 3)),
    *(("diff", 2), ("lag", 2), ("est", 3), ("pred", 3)),
)
_COMPUTED_SUFFIXES: Final = ("sq", "squared", "2", "log", "cu", "cubed", "lag", "lagged")
_LAGGED: Final = re.compile(r"_\d$")
_BEFORE: Final = re.compile(
    r"(?i)(pre|prev|prior|previous|base|baseline|init|initial|hs|moth|fath|hus|husb|spouse|par|before|past|last"
    r"|start|old|mid|expected|pred|est)[ _.]?(?=[A-Za-z]{2})"
)
TIMES_TO_EVENT: Final = word_set(
    "time times t stime futime survtime survivaltime surv timetoevent days months weeks duration dur durat "
    "followup os spell"
)
"""Folded names of a time until something happened."""

EVENTS: Final = word_set(
    "status event cens censor censored censoring delta died dead death failed fail relapse uncensored "
    "survived observed d"
)
"""Folded names of whether that has happened."""

_OF_A_YEAR: Final = re.compile(r"([a-z]+)(\d{2}|\d{4})")
_UNIT: Final = re.compile(r"\s*[(\[][^()\[\]]*[)\]]")
_LATER: Final = word_set("tomorrow next future")
_PRICES: Final = word_set("price prices cost")
_DEMANDS: Final = word_set("sales demand quantity consumption cons units sold packs income")


def without_unit(name: str) -> str:
    """A name without what stands in brackets: `strength(MPa)` is `strength`."""
    return _UNIT.sub("", name) or name


def is_forecast(name: str) -> bool:
    """Whether a name is that of a later time's value, which nobody knows beforehand: `RainTomorrow`,
    `default.payment.next.month`."""
    return bool(_LATER & set(words_of(name)))


def series_of(name: str) -> str | None:
    """What numbered columns share: `V` of V1, V2, V3; None where no number ends a name."""
    found = re.fullmatch(r"(.*?\D)\d+", name.strip())
    return None if found is None else found[1].lower().strip(" _.")


def is_y_of_x1(name: str, others: frozenset[str]) -> bool:
    """Whether a name begins with y, and others with x1, x2: `Y house price`, `Y1`."""
    begin = re.match(r"(?i)y\d?(?![a-z])", name)
    return begin is not None and any(re.match(r"x0?1(?!\d)", other) is not None for other in others)


def is_context(name: str) -> bool:
    """Whether a name is that of something known beforehand: age, region, month."""
    words, short = words_of(without_unit(name)), folded(name)
    if short in OUTCOME_WORDS or not words or is_forecast(name):
        return False
    if words[0] in _CONTEXT_WORDS or words[-1] in _CONTEXT_WORDS:
        return True
    return names_rows(name) or short.endswith(_CONTEXT_ENDS)


def transformed(name: str, others: frozenset[str]) -> str | None:
    """The column that another is computed from by its name: lprice and logPrice of price, expersq of exper,
    its change or its value before (cprice, dprice, price_1).

    Args:
        name: of the column.
        others: the folded names of all columns.
    """
    short = folded(name)
    rests = [(short.removeprefix(prefix), least) for prefix, least in _COMPUTED_PREFIXES]
    rests += [(short.removesuffix(suffix), 2) for suffix in _COMPUTED_SUFFIXES]
    if _LAGGED.search(name):
        rests.append((folded(_LAGGED.sub("", name)), 2))
    return next(
        (rest for rest, least in rests if rest != short and len(rest) >= least and rest in others), None
    )


def is_before(name: str, others: frozenset[str]) -> bool:
    """Whether a name is that of an earlier or another person's value: `hsGPA` beside `colGPA`, `re74` beside
    `re78`.

    Only where another column is called alike: with another beginning or none, or of a later year.
    """
    if (found := _OF_A_YEAR.fullmatch(folded(name))) is not None:
        alike = (other for o in others if (other := _OF_A_YEAR.fullmatch(o)) and other[1] == found[1])
        return any(len(other[2]) == len(found[2]) and int(other[2]) > int(found[2]) for other in alike)
    begin = _BEFORE.match(name)
    if begin is None:
        return False
    rest = folded(name[begin.end() :])
    return any(other != folded(name) and other.endswith(rest) for other in others)


def ends_like_outcome(name: str) -> str | None:
    """The word of a target that a compound ends with: `avgsalary`, `testscr`."""
    short = folded(name)
    return next((word for word in _COMPOUNDS if short.endswith(word) and short != word), None)


def ends_in_outcome(name: str) -> bool:
    """Whether the last word of a name is one that targets have."""
    return folded(name) in OUTCOME_WORDS or any(word in OUTCOME_WORDS for word in words_of(name)[-1:])


def is_price_of_demand(name: str, others: frozenset[str]) -> bool:
    """Whether a name is that of a price beside a column of what was sold at it, or beside the income of those
    who buy: a demand to be explained."""
    return folded(name) in _PRICES and bool(_DEMANDS & others)


def shared_with(name: str, stem: str) -> int:
    """How many letters of a file's name a column's name has: 5 for `bwght.csv` and `bwght`, 4 and more count.

    A run of letters counts, so that `Airfares` and `FARE` share four; at the beginning (`sav` in `saving`)
    three are enough.
    """
    ours, theirs = (re.sub(r"\d+", "", folded(text)) for text in (name, stem))
    if (len(ours) >= 4 and ours in theirs) or (len(ours) >= 3 and theirs.startswith(ours)):
        return len(ours)
    if len(theirs) >= 4 and theirs in ours:
        return len(theirs)
    parts = {form for word in words_of(stem) for form in (word, word.removesuffix("s"))}
    shared = {word for word in words_of(name) if len(word) >= 4} & parts
    return max([len(word) for word in shared] + [_shared_beginning(ours, theirs)])


def _shared_beginning(ours: str, theirs: str) -> int:
    """The letters that begin both, if they are four or more and nearly all of the shorter: `happy` and
    `happiness`."""
    alike = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), 0)
    return alike if alike >= max(4, min(len(ours), len(theirs)) - 2) else 0
