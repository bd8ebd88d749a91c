# Between these functions the steps of a page are run. `top` is the session's directory, `out/N` what step N printed.
progress=$top/out/progress
: >"$progress"
last=0 gateways=() envoys=() others=() pending=()

# Where the page goes on: an empty directory but for what a checkout has.
afresh() {
  stop_all
  cd "$top/work" && mkdir -p here && cd here && rm -rf ..?* .[!.]* ./* && cp -r "$top/examples" "$top/policies" .
}

put() { mkdir -p "$(dirname "$2")" && cp "$1" "$2" && chmod u+w "$2"; }

begin() { (exit $last); }

end() {
  last=$2
  if [ "$last" = 0 ] || [ "$3" = true ]; then echo "$1 $last" >>"$progress"; else echo "$1 failed" >>"$progress"; exit 1; fi
}

before_backend() { :; }
before_gateway() { stop "${gateways[@]}" "${envoys[@]}"; gateways=() envoys=() pending=(); }
before_server() { before_gateway; }
before_envoy() { :; }
before_other() { :; }

started() {
  local pid=$!
  last=0
  case $1 in
  backend) others+=("$pid"); printed "$pid" "$2" ;;
  gateway) gateways+=("$pid"); printed "$pid" "$2" ;;
  server) gateways+=("$pid"); pending+=("$pid $2") ;;
  envoy)
    envoys+=("$pid")
    local server
    for server in "${pending[@]}"; do printed $server; done
    pending=()
    ;;
  other) others+=("$pid") ;;
  esac
  foreground=$pid
  echo "$2 0" >>"$progress"
}

# Waits for a line of service $1, which is step $2.
printed() {
  local deadline=$((SECONDS + 60))
  until [ -s "$top/out/$2" ]; do
    if ! kill -0 "$1" 2>/dev/null || [ "$SECONDS" -ge "$deadline" ]; then echo "$2 failed" >>"$progress"; exit 1; fi
    sleep 0.05
  done
}

# Ctrl-C. The shell has its background processes ignore it, which is not what a terminal does.
interrupt() { stop "$foreground"; }

stop() {
  local pid
  for pid in "$@"; do kill -TERM "$pid" 2>/dev/null; done
  for pid in "$@"; do wait "$pid" 2>/dev/null; done
}

stop_all() {
  stop "${gateways[@]}"
  stop "${envoys[@]}" "${others[@]}"
  gateways=() envoys=() others=() pending=()
}

complete() { echo complete >>"$progress"; }

trap stop_all EXIT
trap 'exit 143' TERM
