# shellcheck shell=bash
# What the check scripts have in common; sourced, not run.
#
# Each check prints one line, `ok`, `FAIL` or `skip` and its name. `run` counts
# those lines. A check that fails also prints what its command said.

work=$(mktemp -d)
said=$work/said
failures=0

# check NAME COMMAND...: it passes if COMMAND does.
check() {
  local name=$1
  shift
  if "$@" >"$said" 2>&1; then
    printf 'ok   %s\n' "$name"
  else
    printf 'FAIL %s\n' "$name"
    tail -n 25 "$said" | sed 's/^/     | /'
    failures=$((failures + 1))
  fi
}

# skip NAME REASON
skip() { printf 'skip %s: %s\n' "$1" "$2"; }

# await SECONDS COMMAND...: tries COMMAND until it succeeds or the time is over.
await() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.05
  done
}

# fenced FILE MARK: the code block that follows the line `<!-- MARK -->`.
fenced() {
  awk -v mark="<!-- $2 -->" '
    $0 == mark { found = 1; next }
    found && /^```/ { if (open) exit; open = 1; next }
    found && open' "$1"
}
