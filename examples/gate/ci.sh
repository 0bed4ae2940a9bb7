#!/usr/bin/env bash
# What an automatic build runs: an audit, then the gate. The status is the gate's.
set -euo pipefail
cd "$(dirname "$0")"
rm -rf run
python digits.py run "$@"
heatproof=(python -m heatproof)
"${heatproof[@]}" check run --require "accuracy > 70 %" --require "gradient-x-input: steady" \
    --require "gradient-x-input: faithful" --require "gradient-x-input: degradation > 0.3" --junit run/gate.xml
python -m pytest -q -p no:cacheprovider digits.heatproof.toml
