#!/usr/bin/env bash
# Chapter 3 of "Deep Learning with Python" from the command line alone: try, look, compare, choose, retrain,
# test once, predict.
#
#     NNRUN_DATA_DIR=... bash tests/chapter3.sh FOLDER [EPOCHS_OF_TEXTS EPOCHS_OF_PRICES]
#
# Runs, figures, pages and predictions go to FOLDER. The book's own numbers of epochs are the default.
set -euo pipefail
specs=$(cd "$(dirname "${BASH_SOURCE[0]}")/../specs" && pwd)
folder=$1 texts=${2:-20} prices=${3:-500}
skip=$((prices > 10 ? 10 : 1))
mkdir -p "$folder"
cd "$folder"
export NNRUN_RUNS_DIR=runs
id() {  # the id of the run that a JSON record on stdin is of
    python -c 'import json, sys; print(json.load(sys.stdin)["id"])'
}
say() { printf '\n$ %s\n' "$*"; "$@"; }

echo "=== 3.4 Classifying movie reviews"
say nnrun check "$specs/imdb.yaml"
say nnrun data show imdb --row 0
imdb=$(nnrun train "$specs/imdb.yaml" --epochs "$texts" --json -q | id)
say nnrun show "$imdb"
say nnrun plot "$imdb"
mse=$(nnrun train "$specs/imdb.yaml" --epochs "$texts" --set loss=mse --set name=imdb_mse --json -q | id)
say nnrun compare "$imdb" "$mse"
say nnrun final "$imdb" -q
say nnrun evaluate "$imdb" --split validation
printf 'a wonderful film, one of the best of the year\nboring, badly acted, the worst film i have seen\n' >reviews.txt
say nnrun predict @last reviews.txt --probabilities

echo "=== 3.5 Classifying newswires"
reuters=$(nnrun train "$specs/reuters.yaml" --seeds 5 --epochs "$texts" --json -q | id)
narrow=$(nnrun train "$specs/reuters.yaml" --seeds 5 --epochs "$texts" --set 'layers[1].dense.units=4' \
    --set name=reuters_bottleneck --json -q | id)
say nnrun compare "$reuters" "$narrow"
say nnrun plot "$reuters" "$narrow" -o bottleneck.png
say nnrun final "$reuters" -q
say nnrun evaluate "$reuters" --split validation
say nnrun export @last --format pt2 -o reuters.pt2

echo "=== 3.6 Predicting house prices"
boston=$(nnrun kfold "$specs/boston.yaml" --k 4 --epochs "$prices" --json -q | id)
say nnrun plot "$boston" --metric mae --skip "$skip" --smooth 0.9
say nnrun final "$boston" -q
printf '0.1,12,7,0,0.5,6.2,50,4,4,300,18,390,10\n' >houses.csv
say nnrun predict @last houses.csv
say nnrun reproduce @last -q
say nnrun report "$imdb" "$reuters" "$boston" -o report.html
say nnrun ls --sort started
