#!/usr/bin/env bash
# Eight minutes at most on a GPU: the preflight, real_model.py on the GPU, TRL's GRPO beside it. Never required.
#
#   benchmarks/on_gpu.sh MODEL_FOLDER OUT_FOLDER [cuda]
#
# PYTHON: the Python that has tutelage (default: python). TRL_PYTHON: the one that has TRL 1.12 (default: PYTHON);
# benchmarks/.peers/trl is made beforehand where the machine has no network. Every part writes into OUT_FOLDER at once,
# so that what ran is kept where a later part is cut off.
set -uo pipefail
mkdir -p "$2"
model=$(realpath "$1") out=$(realpath "$2") device=${3:-cuda}
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python}
peer=${TRL_PYTHON:-$python}
prompts=$(realpath "${PROMPTS:-$here/../../shared/data/hh-rlhf/helpful-base.jsonl.gz}")
export TOKENIZERS_PARALLELISM=false TRL_EXPERIMENTAL_SILENCE=1

say() { echo "$(date +%T) $*" | tee -a "$out/log"; }

say "preflight, and one step of PPO"
cat > "$out/reply_length.py" <<'PYTHON'
def score(prompts, responses):
    return [float(len(response)) for response in responses]
PYTHON
(cd "$out" && timeout 60 "$python" -m tutelage.cli ppo --model "$model" --data "$prompts" --reward reply_length:score \
  --lora-rank 16 --value-head --device "$device" --steps 1 --trajectories 16 --max-new-tokens 16 \
  --out preflight --overwrite >> log 2>&1) || say "preflight: exit $?"

for part in generate train trl; do
  say "$part"
  timeout 110 "$python" "$here/real_model.py" --model "$model" --device "$device" --prompts "$prompts" --rounds 2 \
    --only "$part" > "$out/$part.txt" 2>> "$out/log" || say "$part: exit $?"
  tail -n 1 "$out/$part.txt" > "$out/$part.json"
done

say "TRL's GRPO"
"$python" - "$model" "$device" > "$out/grpo-asked.json" <<'PYTHON'
import json
import sys

model, device = sys.argv[1:]
prompts = [f"What is a good way to learn about subject number {number}?" for number in range(64)]
sizes = {"steps": 4, "groups": 4, "group_size": 8, "new_tokens": 64, "lora_rank": 16}
print(json.dumps({"policy": model, "device": device, "prompts": prompts, **sizes}))
PYTHON
timeout 90 "$peer" "$here/trl_grpo.py" < "$out/grpo-asked.json" > "$out/grpo.txt" 2>> "$out/log" || say "GRPO: exit $?"
tail -n 1 "$out/grpo.txt" > "$out/grpo.json"
say "done: $(ls "$out" | tr '\n' ' ')"
