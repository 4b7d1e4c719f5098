"""The script with which BIRD on a node says which BGP sessions it has; `sentinel.bird_sessions` parses the answer."""

from __future__ import annotations

from chaosext.sentinel.bird_sessions import BIRD_SOCKET

BIRD_SCRIPT = f"""
coproc BIRD {{ exec timeout 3 socat - UNIX-CONNECT:{BIRD_SOCKET}; }}
exec {{answers}}<&"${{BIRD[0]}}" {{questions}}>&"${{BIRD[1]}}"
echo 'show protocols all' >&"$questions"
while IFS= read -r -t 3 -u "$answers" line; do
  printf '%s\\n' "$line"
  [[ $line =~ ^(0000|[89][0-9]{{3}})' ' ]] && exit 0
done
exit 1
"""
"""Ends at BIRD's last line, code 0000 (or 8xxx/9xxx for an error), because BIRD keeps the connection open."""
