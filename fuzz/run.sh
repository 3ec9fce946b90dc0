#!/bin/sh
# Runs every fuzz target, or those named: fuzz/run.sh [SECONDS [TARGET…]]. What a target finds is written to
# fuzz/artifacts/ and printed with the command that runs it again; it then becomes a test beside the code.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-30}
[ $# -gt 0 ] && shift
formats="format_json format_docker_json format_syslog_rfc5424 format_syslog_rfc3164 format_apache_combined
  format_apache_common format_nginx_error format_apache_error format_cri format_logfmt format_plain format_postgres"
targets=${*:-"q batch text json http intake $formats"}
tools=${CARGO_TARGET_DIR:-target}/tools
if ! command -v cargo-fuzz >/dev/null; then
  [ -x "$tools/bin/cargo-fuzz" ] || cargo install --quiet --locked --root "$tools" cargo-fuzz@0.13.2
  PATH="$PATH:$(cd "$tools/bin" && pwd)"
fi
# Coverage and sanitizers are flags that a stable compiler has but takes only when told so.
export RUSTC_BOOTSTRAP=1
for target in $targets; do
  echo "fuzz: $target for $seconds s"
  mkdir -p "fuzz/corpus/$target"
  case $target in http | intake) features="--features engine" ;; *) features="" ;; esac
  cargo fuzz run $features "$target" "fuzz/corpus/$target" $([ -d "fuzz/seeds/$target" ] && echo "fuzz/seeds/$target") -- \
    -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
done
