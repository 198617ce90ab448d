"""What the name of a column says about it: `Customer Number` names customers, `y81` is a year.

What it says of the target is in `target_names`."""

from __future__ import annotations

import re
from functools import cache
from typing import Final


def word_set(words: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(words.split())


_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+")

_ID_ENDS: Final = word_set(
    "id ids idx index uuid guid key nr no num identifier rownames rowname row obs obsno pid studyid "
    "caseid code serial record recno seq sequence case observation number ssn subject subj"
)
_ID_SUFFIX: Final = re.compile(
    r"(study|case|subj|subject|person|pers|cust|customer|user|hh|house|household|firm|comp|company|patient|pat|"
    r"school|sch|sample|record|rec|row|obs|emp|employee|order|trans|item|plot|client|member|student|worker|p|r|u|"
    r"s|m|d|i|n)id"
)
_MEMBERS: Final = word_set(
    "subject subj patient pat person individual individ participant respondent animal rat dog mouse child "
    "pupil student worker user customer client household family hh hhid firm company employee nr pid "
    "litter cow pig bird sire donor volunteer player driver rater"
)
_SPLIT_NAMES: Final = word_set("split set fold partition subset cvfold kfold datasplit dataset testset")
_TRAIN_NAMES: Final = word_set("train training istrain istraining intrain test istest testing intest")
_CLASS_WORDS: Final = word_set(
    "class classes label labels type species category kind digit letter topic cluster family genus variety"
)
_TIME_WORDS: Final = word_set("date time year month day datetime timestamp period quarter week yr")
_LABEL_PREFIX: Final = re.compile(r"(?i)(target|label|labels|tag|class|y|out|output)[ _.-]?(is[ _.-])?.+")
_YEAR_DUMMY: Final = re.compile(r"(?i)(d|y|yr|year|t|yd|dy)[ _.]?(19|20)?\d\d")


@cache
def words_of(name: str) -> tuple[str, ...]:
    """The words of a name in lower case: `customerID`, `CUSTOMER_ID` and `Customer Id` are (customer, id)."""
    return tuple(word.lower() for word in _WORD.findall(name))


@cache
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


def names_classes(name: str) -> bool:
    """Whether whole numbers under this name are classes rather than amounts."""
    return bool(_CLASS_WORDS & set(words_of(name)))


def names_time(name: str) -> bool:
    """Whether a name is that of a date or of a time."""
    return bool(_TIME_WORDS & set(words_of(name)))


def is_year_dummy(name: str) -> bool:
    """Whether 0 and 1 under this name say that a row is of one year: d78, y81, yr1990."""
    return _YEAR_DUMMY.fullmatch(name) is not None


def names_name(name: str) -> bool:
    """Whether a column holds names: `name`, `Player Name`."""
    words = words_of(name)
    return bool(words) and words[-1] in ("name", "names", "title", "address", "url", "phone", "ticket")


def is_label_of_several(name: str) -> bool:
    """Whether a name is that of one of several labels: target_1, label_spam, y2."""
    return _LABEL_PREFIX.fullmatch(name) is not None
