#!/bin/sh
# Install Debian's chromium-headless-shell where apt is allowed; else chromium does where there is one, at twice the
# processor time per page; where neither is, say so and go on: browser tests then skip.
if command -v chromium-headless-shell >/dev/null 2>&1; then
  exit 0
fi
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
  if apt-get update -qq && apt-get install -y -qq chromium-headless-shell >/dev/null; then
    exit 0
  fi
fi
if ! command -v chromium >/dev/null 2>&1; then
  echo "Chromium is missing and could not be installed here: the browser tests will be skipped." >&2
fi
exit 0
