#!/bin/sh
# Install Debian's chromium-headless-shell where apt is allowed. Where it cannot be had, chromium does, at twice the
# processor time per page; where neither can, say so and go on: browser tests then skip.
if command -v chromium-headless-shell >/dev/null 2>&1; then
  exit 0
fi
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
  if apt-get update -qq; then
    apt-get install -y -qq chromium-headless-shell >/dev/null || apt-get install -y -qq chromium >/dev/null || true
  fi
fi
if ! command -v chromium-headless-shell >/dev/null 2>&1 && ! command -v chromium >/dev/null 2>&1; then
  echo "Chromium is missing and could not be installed here: the browser tests will be skipped." >&2
fi
exit 0
