"""What the name of a column says about it: `Customer Number` names customers, `y81` is a year, `price` is a
target."""

from __future__ import annotations

import re
from os.path import commonprefix
from typing import Final


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+")

TARGET_NAMES: Final = (
    *("target", "label", "labels", "y", "outcome", "response", "survived", "species", "topic", "sentiment"),
    *("churn", "churned", "medv", "depvar", "dependent", "class"),
)
"""What targets are usually called, the surest first. Titanic has `survived` and `class`."""

OUTCOME_WORDS: Final = tuple(
    "salary salaries sal wage wages earnings revenue profit sales sale sold demand quantity consumption spending "
    "expenditure expenditures outcome response resp dv depvar price prices cost costs score scores testscr "
    # what somebody decided or did
    "purchase purchased bought churn attrition fraud spam approved approve approval default defaulted "
    "delinquent bankrupt bankruptcy decision result vote voted turnout choice answer answers deny denied "
    "acceptance accepted subscribed converted clicked ownership participation partic lfp inlf volunteer "
    "volunteered conflict fare mpg mileage charges rent claims saving savings loan "
    # births, illness and death
    "diagnosis survival survived mortality deaths death died die dead fatalities fatality fatal case cases "
    "ncases relapse remission recurrence infected infection cured readmitted incidence prevalence malignant "
    "los docvis visits visit prognosis severity improved improvement fertility tfr gfr imr "
    # counts, harvests, materials
    "count counts cnt yield breaks cycles defects faults errors skips failure failures fail failed incidents "
    "accidents injuries success successes crimes murder arrests executions ridership riders bikers "
    "passengers biomass abundance diversity strength hardness viscosity toxicity target label class quality "
    "satisfaction conformity decrease bpchange shares popularity gpa rating ratings votes "
    "admit admitted recidivism rearrest dropout graduated passed hired promoted quit donated donation cancelled "
    "delay delayed attendance longevity lifespan lifetime lifeexp bodyfat homicides homicide suicides suicide".split()
)
"""Words that the name of a target often has; weaker, since an input may have them too."""

_SHORTEST_COMPOUNDED: Final = 6
_COMPOUNDS: Final = (
    *("price", "salary", "wage", "sales", "score", "scr", "gpa", "visit", "death", "count", "spend", "mort"),
    *("yield", "claims", "cases", "affairs"),
    *(word for word in OUTCOME_WORDS if len(word) >= _SHORTEST_COMPOUNDED),
)
_COUNTED: Final = re.compile(r"(?:(?:n|nb|num|no|number|tot|total|t|cum|is|has)(?=[a-z]{4})|(?:avg|mean|med|max|l|ln|log)(?=[a-z]{3}))")
MEDIUM_WORDS: Final = _set(
    "durat dur duration spell crime richness growth correct reaction rate output productivity emissions prestige "
    "balance cons mode event inf infl inflation mag magnitude permeability calories emission gain loss wear damage resistance resist noise odor odour taste acuity ozone o3 divorce "
    "unemployment unemploy efficiency power energy load rings disease chd diabetes stroke condition infection win won "
    "goals births bwt birthweight eggs usage thickness absences absent fev life heartdisease affairs"
)
"""Words that are more often a target than not; less sure than `OUTCOME_WORDS`."""

WEAK_WORDS: Final = _set(
    "value rate rte status grade risk amount level weight height volume length len loan speed "
    "frequency freq change difference diff extra math reading event hours output time"
)
"""Words of targets and of inputs alike: they decide only between columns that have no other sign."""

_CONTEXT_WORDS: Final = _set(
    "age sex gender race black white hispanic hisp ethnicity region state country county city zip zipcode "
    "lat lon long latitude longitude south north east west urban rural married marital female male educ "
    "education exper experience tenure year yr month day days week hour quarter season weekday date "
    "period decade group treatment treat treated feed spray supp dose block plot variety fertilizer diet "
    "method batch site trial arm cohort stratum strata cluster replicate rep order row col column pair run "
    "position center centre clinic inst institution hospital code nation gestation parity married mar fem "
    "man woman kids kid phd father mother husband wife temp temperature concentration conc recipe "
    "manufacturer brand model smoke smoker smoking sqrt population pop income inc foreign trt rx"
)
"""Words of what is known of somebody or something beforehand, or set by an experiment: rarely a target."""

_CONTEXT_ENDS: Final = ("inc", "income", "educ", "sex", "race", "group", "grp", "popul", "yrs", "married", "born")
_ID_ENDS: Final = _set(
    "id ids idx index uuid guid key nr no num identifier rownames rowname row obs obsno pid studyid caseid "
    "code "
    "serial record recno seq sequence case observation number ssn subject subj"
)
_ID_SUFFIX: Final = re.compile(
    r"(study|case|subj|subject|person|pers|cust|customer|user|hh|house|household|firm|comp|company|patient|pat|"
    r"school|sch|sample|record|rec|row|obs|emp|employee|order|trans|item|plot|client|member|student|worker|p|r|u|"
    r"s|m|d|i|n)id"
)
_MEMBERS: Final = _set(
    "subject subj patient pat person individual individ participant respondent animal rat dog mouse child "
    "pupil "
    "student worker user customer client household family hh hhid firm company employee nr pid litter cow "
    "pig "
    "bird sire donor volunteer player driver rater"
)
_SPLIT_NAMES: Final = _set("split set fold partition subset cvfold kfold datasplit dataset testset")
_TRAIN_NAMES: Final = _set("train training istrain istraining intrain test istest testing intest")
_CLASS_WORDS: Final = _set(
    "class classes label labels type species category kind digit letter topic cluster family genus variety"
)
_TIME_WORDS: Final = _set("date time year month day datetime timestamp period quarter week yr")
_WEEKDAY_NAMES: Final = _set("weekday dayofweek dow wday dayweek")
_LABEL_PREFIX: Final = re.compile(r"(?i)(target|label|labels|tag|class|y|out|output)[ _.-]?(is[ _.-])?.+")
_COMPUTED_PREFIXES: Final = (
    ("log", 2),
    ("ln", 2),
    ("l", 2),
    ("c", 3),
    ("d", 3),
    ("diff", 2),
    ("s", 4),
    ("z", 4),
    ("std", 3),
    ("sqrt", 2),
    ("inv", 3),
    ("lag", 2),
    ("est", 3),
    ("pred", 3),
)
_COMPUTED_SUFFIXES: Final = ("sq", "squared", "2", "log", "cu", "cubed", "lag", "lagged")
_BEFORE: Final = re.compile(
    r"(?i)(pre|prev|prior|previous|base|baseline|init|initial|hs|moth|fath|hus|husb|spouse|par|before|past|last"
    r"|start|old|mid|expected|pred|est)[ _.]?(?=[A-Za-z]{2})"
)
_AFTER: Final = re.compile(r"(?i)(post|final|follow[ _.]?up|col|end)[ _.]?(?=[A-Za-z]{2})")
_VARIANT: Final = re.compile(r"[ _.]?\d{1,4}$")
_TIME_TO_EVENT: Final = _set(
    "time times t stime futime ftime survtime survivaltime surv tsurv timetoevent days months weeks duration "
    "dur durat followup ttr tod pgtime os spell"
)
_EVENT: Final = _set(
    "status event cens censor censored censoring cens delta died dead death fustat fstat stat relapse fail d "
    "pgstat failed uncensored survived observed"
)
_NUMBERED: Final = re.compile(r"([a-z]+)(\d{1,4})")
_FAMILY: Final = 3
_FIRST_YEAR: Final = 40
PRICES: Final = _set("price prices cost")
_QUANTITIES: Final = _set("sales demand quantity consumption cons units sold")
_YEAR_DUMMY: Final = re.compile(r"(?i)(d|y|yr|year|t|yd|dy)[ _.]?(19|20)?\d\d")


def words_of(name: str) -> tuple[str, ...]:
    """The words of a name in lower case: `customerID`, `CUSTOMER_ID` and `Customer Id` are (customer, id)."""
    return tuple(word.lower() for word in _WORD.findall(name))


def folded(name: str) -> str:
    """The letters and digits of a name, in lower case."""
    return "".join(words_of(name))


def names_rows(name: str) -> bool:
    """Whether a name is that of a row's number or of its id."""
    words = words_of(name)
    if not words:
        return name.strip() in ("", "#")
    if words[0] == "unnamed" or words[:2] == ("index", "level") or folded(name) in _ID_ENDS:
        return words != ("number",) and words != ("no",)
    return words[-1] in _ID_ENDS or _ID_SUFFIX.fullmatch(words[-1]) is not None or name.strip().endswith("#")


def names_members(name: str) -> bool:
    """Whether a name is that of a person or thing of which there may be several rows."""
    words = words_of(name)
    if not words:
        return False
    is_id = words[-1] in ("id", "ids") or _ID_SUFFIX.fullmatch(words[-1]) is not None
    return is_id or folded(name) in _MEMBERS or (len(words) == 1 and words[0].rstrip("s") in _MEMBERS)


def marks_split(name: str) -> bool:
    """Whether a name is that of a mark of training, validation and test rows, or of folds."""
    return folded(name) in _SPLIT_NAMES or words_of(name)[-1:] in (("fold",), ("split",), ("partition",))


def marks_training(name: str) -> bool:
    """Whether a name asks if a row is a training row, or a test row."""
    return folded(name) in _TRAIN_NAMES


def marks_test(name: str) -> bool:
    """Whether a name asks if a row is a test row."""
    return "test" in folded(name)


def names_classes(name: str) -> bool:
    """Whether whole numbers under this name are classes rather than amounts."""
    return bool(_CLASS_WORDS & set(words_of(name)))


def names_time(name: str) -> bool:
    """Whether a name is that of a date or of a time."""
    return bool(_TIME_WORDS & set(words_of(name)))


def names_weekday(name: str) -> bool:
    """Whether a name is that of the day of the week."""
    return folded(name) in _WEEKDAY_NAMES


def is_year_dummy(name: str) -> bool:
    """Whether 0 and 1 under this name say that a row is of one year: d78, y81, yr1990."""
    return _YEAR_DUMMY.fullmatch(name) is not None


def is_context(name: str) -> bool:
    """Whether a name is that of something known beforehand: age, region, month."""
    words, short = words_of(name), folded(name)
    if short in OUTCOME_WORDS or not words:
        return False
    if words[0] in _CONTEXT_WORDS or words[-1] in _CONTEXT_WORDS:
        return True
    return names_rows(name) or short.endswith(_CONTEXT_ENDS)


def names_name(name: str) -> bool:
    """Whether a column holds names: `name`, `Player Name`."""
    words = words_of(name)
    return bool(words) and words[-1] in ("name", "names", "title", "address", "url", "phone", "ticket")


def is_label_of_several(name: str) -> bool:
    """Whether a name is that of one of several labels: target_1, label_spam, y2."""
    return _LABEL_PREFIX.fullmatch(name) is not None


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
    rests.append((folded(_VARIANT.sub("", name)), 2))
    return next(
        (rest for rest, least in rests if rest != short and len(rest) >= least and rest in others), None
    )


def ends_like_outcome(name: str) -> str | None:
    """The word of a target that a compound ends with: `avgsalary`, `testscr`."""
    short = folded(name)
    ends = next((word for word in _COMPOUNDS if short.endswith(word) and short != word), None)
    if ends is None and (counted := _COUNTED.match(short)) is not None:
        rest = short[counted.end() :]
        ends = rest if rest in OUTCOME_WORDS else rest + "s" if rest + "s" in OUTCOME_WORDS else None
    return ends


def is_price_of_sales(name: str, others: frozenset[str]) -> bool:
    """Whether a name is that of a price beside a column of what was sold at it."""
    return folded(name) in PRICES and bool(_QUANTITIES & others)


def counts_of_trials(name: str, others: frozenset[str]) -> bool:
    """Whether a name is that of the successes r among m (or n) trials."""
    return folded(name) == "r" and bool({"m", "n"} & others)


def is_before(name: str, others: frozenset[str]) -> bool:
    """Whether a name is that of an earlier or another person's value: `hsGPA`, `prewage`, `husage`.

    Only where another column is called alike, with another beginning or none (`colGPA`, `wage`, `age`).
    """
    if is_of_earlier_year(name, others):
        return True
    begin = _BEFORE.match(name)
    if begin is None:
        return False
    rest = folded(name[begin.end() :])
    return any(other != folded(name) and other.endswith(rest) for other in others)


def is_after(name: str, others: frozenset[str]) -> bool:
    """Whether a name is that of a later value of what another column has: `Postwt` beside `Prewt`."""
    begin = _AFTER.match(name)
    if begin is None:
        return False
    rest = folded(name[begin.end() :])
    return any(other != folded(name) and other.endswith(rest) for other in others)


def numbered_family(name: str, others: frozenset[str]) -> bool:
    """Whether a name is one of three or more that differ in a number: R1, R2, ... R24."""
    found = _NUMBERED.fullmatch(folded(name))
    if found is None:
        return False
    alike = sum(1 for other in others if (o := _NUMBERED.fullmatch(other)) and o[1] == found[1])
    return alike >= _FAMILY and int(found[2]) < _FIRST_YEAR


def is_of_earlier_year(name: str, others: frozenset[str]) -> bool:
    """Whether another column has the same name of a later year: re74 and re75 beside re78."""
    found = _NUMBERED.fullmatch(folded(name))
    if found is None or int(found[2]) < _FIRST_YEAR:
        return False
    alike = (o for other in others if (o := _NUMBERED.fullmatch(other)) and o[1] == found[1])
    return any(len(o[2]) == len(found[2]) and int(o[2]) > int(found[2]) for o in alike)


def is_latest_year(name: str, others: frozenset[str]) -> bool:
    """Whether two columns or more have the same name of an earlier year, and none of a later one."""
    found = _NUMBERED.fullmatch(folded(name))
    if found is None or int(found[2]) < _FIRST_YEAR or is_of_earlier_year(name, others):
        return False
    return sum(1 for other in others if (o := _NUMBERED.fullmatch(other)) and o[1] == found[1]) >= _FAMILY


def ends_in_outcome(name: str) -> bool:
    """Whether the last word of a name is one that targets have."""
    return words_of(name)[-1:] != () and (folded(name) in OUTCOME_WORDS or words_of(name)[-1] in OUTCOME_WORDS)


def is_named_after(name: str, stem: str) -> bool:
    """Whether a name is all of the file's but numbers and a plural: `tip` in tips.csv."""
    return letters(name).removesuffix("s") == letters(stem).removesuffix("s")


def times_event(name: str) -> bool:
    """Whether a name is that of a time until something happened."""
    return folded(name) in _TIME_TO_EVENT


def names_event(name: str) -> bool:
    """Whether a name says if that something has happened."""
    return folded(name) in _EVENT


def letters(name: str) -> str:
    """The letters of a name, in lower case."""
    return re.sub(r"\d+", "", folded(name))


def shared_with(name: str, stem: str) -> int:
    """How many letters of a file's name a column's name has: 5 for `bwght.csv` and `bwght`, 4 and more count.

    A run of letters counts, so that `Airfares` and `FARE` share four; at the beginning (`sav` in `saving`)
    three are enough.
    """
    ours, theirs = letters(name), letters(stem)
    if (len(ours) >= 4 and ours in theirs) or (len(ours) >= 3 and theirs.startswith(ours)):
        return len(ours)
    if len(theirs) >= 4 and theirs in ours:
        return len(theirs)
    shared = {word for word in words_of(name) if len(word) >= 4} & set(_parts(stem))
    return max([len(word) for word in shared] + [_shared_beginning(ours, theirs)])


def _shared_beginning(ours: str, theirs: str) -> int:
    """Letters of a beginning that both have (`happy`, `happiness`: 4), or the consonants that begin both
    (`mrdrte`, `murder`: 4, `crmrte`, `crime`: 3)."""
    alike = len(commonprefix([ours, theirs]))
    if alike >= 4 and alike >= min(len(ours), len(theirs)) - 2:
        return alike
    if len(theirs) < 4 or not ours:
        return 0
    consonants = theirs[0] + re.sub(r"[aeiou]", "", theirs[1:])
    bare = ours[0] + re.sub(r"[aeiou]", "", ours[1:])
    alike = len(commonprefix([bare, consonants]))
    return alike if alike >= 3 and alike >= len(consonants) - 1 else 0


def _parts(stem: str) -> tuple[str, ...]:
    words = words_of(stem)
    singular = tuple(word.removesuffix("s") for word in words)
    return (*words, *singular)
