// The place of the tour's card: beside its target where there is room, and always inside of the window.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { GAP, cardPlace, ringBox } from '../../app/assets/web/tour/place.js';

const card = { width: 300, height: 200 };
const view = { width: 1440, height: 900 };

test('a card is right of a target, or left of it, below it, above it, where there is room', () => {
  const beside = (/** @type {[number, number, number, number]} */ [left, top, width, height]) =>
    cardPlace({ left, top, width, height }, card, view);
  assert.deepEqual(beside([100, 50, 800, 600]), { left: 900 + GAP, top: 50 });
  assert.deepEqual(beside([900, 50, 500, 600]), { left: 900 - 300 - GAP, top: 50 });
  assert.deepEqual(beside([50, 50, 1340, 300]), { left: 50, top: 350 + GAP });
  assert.deepEqual(beside([50, 500, 1340, 300]), { left: 50, top: 500 - 200 - GAP });
});

test('without a target, or without room, it is in the corner', () => {
  const corner = { left: 1440 - 300 - GAP, top: 900 - 200 - GAP };
  assert.deepEqual(cardPlace(null, card, view), corner);
  assert.deepEqual(cardPlace({ left: 0, top: 0, width: 1440, height: 900 }, card, view), corner);
});

test('it is inside of every window that it fits into, and covers no target that leaves room', () => {
  let seed = 7;
  const random = (/** @type {number} */ most) => (seed = (seed * 16807) % 2147483647) % most;
  for (let i = 0; i < 2000; i += 1) {
    const window = { width: 390 + random(1500), height: 300 + random(1000) };
    const target = { left: random(2000) - 300, top: random(2000) - 300, width: random(1500), height: random(1000) };
    const { left, top } = cardPlace(target, card, window);
    assert.ok(left >= GAP && left + card.width <= window.width - GAP, `${left} in ${window.width}`);
    assert.ok(top >= GAP && top + card.height <= window.height - GAP, `${top} in ${window.height}`);
    const room = target.left + target.width + 2 * GAP + card.width <= window.width && target.left + target.width >= 0;
    if (room)
      assert.ok(
        left >= target.left + target.width ||
          left + card.width <= target.left ||
          top >= target.top + target.height ||
          top + card.height <= target.top,
      );
  }
});

test('the ring is inside of the window, whatever it is around', () => {
  const box = ringBox({ left: -50, top: 100, width: 2000, height: 2000 }, view);
  assert.deepEqual(box, { left: 2, top: 96, width: 1436, height: 802 });
  assert.deepEqual(ringBox({ left: 100, top: 100, width: 50, height: 20 }, view), {
    left: 96,
    top: 96,
    width: 58,
    height: 28,
  });
});
