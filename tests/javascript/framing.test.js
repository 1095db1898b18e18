import assert from 'node:assert/strict';
import { test } from 'node:test';

import { drawnRegion, framingText, regionBox, SMALLEST } from '../../app/assets/web/explore/framing.js';

const AS_IT_IS = { crop: 'whole', turns: 0, inverted: false, size: 1, across: 0.5, down: 0.5 };
// the same table is in tests/kmex_core/test_framing.py: the page and the server must mean the same
const TEXTS = [
  ['', {}],
  ['turn90', { turns: 1 }],
  ['pad', { crop: 'pad' }],
  ['turn270_pad_invert', { crop: 'pad', turns: 3, inverted: true }],
  ['region-350-0-1000', { crop: 'region', size: 0.35, across: 0, down: 1 }],
  [
    'turn180_region-1000-500-333_invert',
    { crop: 'region', turns: 2, inverted: true, size: 1, across: 0.5, down: 0.333 },
  ],
  ['invert', { inverted: true }],
];

test('a framing is written as the server reads it', () => {
  for (const [text, changed] of TEXTS) assert.equal(framingText({ ...AS_IT_IS, ...changed }), text);
  assert.equal(framingText({ ...AS_IT_IS, turns: 4 }), '');
});

test('a drawn square is where it was drawn', () => {
  for (const [from, to, box] of [
    [[10, 20], [40, 30], { left: 10, top: 20, side: 30 }],
    [[40, 50], [30, 10], { left: 0, top: 10, side: 40 }],
    [[90, 10], [120, 20], { left: 90, top: 10, side: 30 }],
  ]) {
    const found = regionBox(drawnRegion(from, to, 200, 100), 200, 100);
    for (const name of ['left', 'top', 'side']) assert.ok(Math.abs(found[name] - box[name]) < 1e-9, `${name} ${from}`);
  }
});

test('a square that is drawn beyond the picture, or hardly at all, is one of the picture', () => {
  for (const [from, to] of [
    [
      [190, 90],
      [900, 900],
    ],
    [
      [5, 5],
      [-900, -900],
    ],
    [
      [50, 50],
      [50, 50],
    ],
    [
      [199, 99],
      [199.5, 99.5],
    ],
  ]) {
    const region = drawnRegion(from, to, 200, 100);
    const { left, top, side } = regionBox(region, 200, 100);
    assert.ok(left >= -1e-9 && top >= -1e-9 && left + side <= 200 + 1e-9 && top + side <= 100 + 1e-9);
    assert.ok(region.size >= SMALLEST && region.size <= 1);
    for (const share of [region.across, region.down]) assert.ok(share >= 0 && share <= 1);
  }
  assert.deepEqual(drawnRegion([0, 0], [80, 80], 50, 50), { size: 1, across: 0.5, down: 0.5 });
});
